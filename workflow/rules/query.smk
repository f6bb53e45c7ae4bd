# The query of a cycle: which images are labelled next.
#
# agent   the tables, embeddings.safetensors, labelled.json -> agent.safetensors, agent.csv, agent.json
# select  what the strategy looks at -> selection.json: the agent, the detector, embeddings, or chance alone
#         (mgral/selection/strategies/)


rule agent:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=in_round("labelled.json"),
        embeddings=in_embeddings,
        tables=in_tables,
    output:
        weights=MGRAL + "/agent.safetensors",
        episodes=MGRAL + "/agent.csv",
        summary=MGRAL + "/agent.json",
    log:
        LOGS + "/agent/seed{seed}_mgral_cycle{cycle}.log",
    benchmark:
        BENCHMARKS + "/agent/seed{seed}_mgral_cycle{cycle}.tsv"
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=3500,
        gpu=0,
        vram_mb=card_memory_mb(CONFIG, "agent"),
    params:
        depends_on=depends_on(CONFIG, "agent"),
        tables=lambda wildcards, input: " ".join(
            f"--table {table}" for table in input.tables
        ),
    shell:
        "mgral agent --config {input.config} --dataset {input.dataset} --labelled {input.labelled}"
        " --embeddings {input.embeddings} {params.tables}"
        " --seed {wildcards.seed} --cycle {wildcards.cycle} --gpus {resources.gpu} --output {output.weights}"
        " --log-csv {output.episodes} --summary {output.summary} 2> {log}"


def in_select(wildcards):
    """What the strategy looks at beside the labelled set, by the option of `mgral select` that takes it."""
    own = in_round("embeddings.safetensors")
    paths = {
        "images": lambda wildcards: EXPERIMENT + "/dataset/train.npy",
        "detector": in_round("detector.safetensors"),
        "embeddings": in_embeddings if wildcards.strategy == "mgral" else own,
        "agent": lambda wildcards: MGRAL + "/agent.safetensors",
    }
    return {
        option: paths[option](wildcards)
        for option in registry.strategy(wildcards.strategy).files
    }


rule select:
    input:
        unpack(in_select),
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=in_round("labelled.json"),
    output:
        ROUND + "/selection.json",
    log:
        LOGS + "/select/seed{seed}_{strategy}_cycle{cycle}.log",
    benchmark:
        BENCHMARKS + "/select/seed{seed}_{strategy}_cycle{cycle}.tsv"
    wildcard_constraints:
        strategy="|".join(registry.strategies()),
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=0,
        vram_mb=card_memory_mb(CONFIG, "select"),
    params:
        depends_on=lambda wildcards: depends_on(CONFIG, "select", wildcards.strategy),
        requires=lambda wildcards, input: " ".join(
            f"--{name} {input[name]}" for name in in_select(wildcards)
        ),
    shell:
        "mgral select --config {input.config} --strategy {wildcards.strategy} --dataset {input.dataset}"
        " --labelled {input.labelled} --seed {wildcards.seed} --cycle {wildcards.cycle} {params.requires}"
        " --gpus {resources.gpu} --output {output} 2> {log}"
