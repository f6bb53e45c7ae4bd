# The query of a cycle: which images are labelled next.
#
# agent   the tables, embeddings, labelled.json -> agent.safetensors, agent.csv, agent.json
# select  what the strategy requires -> selection.json: the agent, the detector, its head, embeddings, groups, or nothing
#         (@register in mgral/selection/strategies/)


def in_labelled(wildcards):
    return round_of(wildcards.strategy, wildcards.cycle) + "/labelled.json"


def in_agent_embeddings(wildcards):
    """The embeddings that the tables were made from, by which the agent chooses too."""
    folder = table_round(wildcards.strategy, wildcards.cycle)
    return in_embeddings(folder, wildcards.strategy)


def is_lstm(wildcards):
    return CONFIG.strategies[wildcards.strategy].agent.policy == "lstm"


rule agent:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=in_labelled,
        embeddings=in_agent_embeddings,
        tables=lambda wildcards: tables_of(wildcards.strategy, wildcards.cycle),
    output:
        weights=STRATEGY + "/agent.safetensors",
        episodes=STRATEGY + "/agent.csv",
        summary=STRATEGY + "/agent.json",
    log:
        LOGS + "/agent/seed{seed}/{strategy}/cycle{cycle}.log",
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=3500,
        # Agents that see their batch are trained on the CPU.
        gpu=lambda wildcards: gpus_of("agent")(wildcards) if is_lstm(wildcards) else 0,
        vram_mb=lambda wildcards: (
            vram_mb_of("agent")(wildcards) if is_lstm(wildcards) else 0
        ),
    params:
        depends_on=settings_of("agent"),
        tables=lambda wildcards, input: " ".join(
            f"--table {table}" for table in input.tables
        ),
    shell:
        "mgral agent --config {input.config} --dataset {input.dataset} --labelled {input.labelled}"
        " --strategy {wildcards.strategy} --embeddings {input.embeddings} {params.tables}"
        " --seed {wildcards.seed} --cycle {wildcards.cycle} --gpus {resources.gpu} --vram-mb {resources.vram_mb} --output {output.weights}"
        " --log-csv {output.episodes} --summary {output.summary} > {log} 2>&1"


def in_select(wildcards):
    """What the strategy requires beside the labelled set, by the option of `mgral select` that takes it."""
    strategy = wildcards.strategy
    kind = CONFIG.strategies[strategy].type
    info = registry.strategy(kind)
    folder = round_of(strategy, wildcards.cycle)
    embedded = table_round(strategy, wildcards.cycle) if info.needs_tables else folder
    paths = {
        "images": TRAIN_IMAGES,
        "detector": f"{folder}/{FINDS}",
        "embeddings": in_embeddings(embedded, strategy),
        "table": tables_of(strategy, wildcards.cycle),
        "agent": STRATEGY + "/agent.safetensors",
        "groups": EXPERIMENT + "/dataset/groups.json",
        "head": f"{folder}/heads/{kind}.safetensors",
    }
    derived = {"derived": DERIVED} if DERIVED and info.runs_detector else {}
    options = (*info.files, *(["groups"] if SNAPSHOT else []))
    return {option: paths[option] for option in options} | derived


rule select:
    input:
        unpack(in_select),
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=in_labelled,
    output:
        STRATEGY + "/selection.json",
    log:
        LOGS + "/select/seed{seed}/{strategy}/cycle{cycle}.log",
    threads: 1
    resources:
        mem_mb=MEM_MB,
        # Strategies that run the detector.
        gpu=lambda wildcards, input: (
            gpus_of("select")(wildcards) if input.get("detector") else 0
        ),
        vram_mb=lambda wildcards, input: (
            vram_mb_of("select")(wildcards) if input.get("detector") else 0
        ),
    params:
        depends_on=settings_of("select"),
        requires=lambda wildcards, input: " ".join(
            f"--{name} {path}"
            for name in in_select(wildcards)
            for path in (
                [input[name]] if isinstance(input[name], str) else input[name]
            )
        ),
        controls=(
            f" --controls {SNAPSHOT.controls}"
            if SNAPSHOT and SNAPSHOT.controls
            else ""
        ),
    shell:
        "mgral select --config {input.config} --strategy {wildcards.strategy} --dataset {input.dataset}"
        " --labelled {input.labelled} --seed {wildcards.seed} --cycle {wildcards.cycle} {params.requires}{params.controls}"
        " --gpus {resources.gpu} --vram-mb {resources.vram_mb} --output {output} > {log} 2>&1"
