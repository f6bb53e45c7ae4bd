# Fidelity, an experiment of its own: `snakemake fidelity`. Of batches that are labelled for it, the true gain, measured
# on the test images, beside what tables predict. No other rule reads any of this. The tables are made by the rules of
# lut.smk.
#
# candidates  random's labelled.json, detector and embeddings at a cycle, tables, near-copies -> candidates.json
# gain        candidates.json, test.npy -> gains<i>-<j>.json; jobs side by side
# lookup      candidates.json, labelled.json, variants<i>-<j>.json of all splits -> {table}/lookups.csv
# fidelity    all of these -> fidelity/report.html, figures/, tables/

FIDELITY = EXPERIMENT + "/seed{seed}/fidelity/cycle{cycle}"


def tried_round(wildcards):
    """The round whose labelled set and pool the batches are tried on: of the first random strategy."""
    randoms = [name for name, own in CONFIG.strategies.items() if own.type == "random"]
    if not randoms and int(wildcards.cycle):
        raise InputError(
            "fidelity tries batches on the pool of strategy random; add `random` to strategies"
        )
    return round_of(*randoms[:1], wildcards.cycle) if randoms else round_of("", 0)


def tried_tables(wildcards):
    """The round of the tables that serve strategies there: with lut.refresh: once, the first one."""
    return round_of("", 0) if CONFIG.lut.refresh == "once" else tried_round(wildcards)


def in_tried(name):
    return lambda wildcards: f"{tried_round(wildcards)}/{name}"


rule candidates:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        dataset=EXPERIMENT + "/dataset/train.json",
        images=EXPERIMENT + "/dataset/train.npy",
        labelled=in_tried("labelled.json"),
        detector=in_tried(FINDS),
        embeddings=in_tried("embeddings/default.safetensors"),
        groups=EXPERIMENT + "/dataset/groups.json",
        table_embeddings=lambda wildcards: f"{tried_tables(wildcards)}/embeddings/default.safetensors",
        tables=lambda wildcards: [
            f"{tried_tables(wildcards)}/tables/{DEFAULT}/split{split}/{DEFAULT}/table.safetensors"
            for split in range(CONFIG.lut.splits)
        ],
    output:
        FIDELITY + "/candidates.json",
    log:
        LOGS + "/candidates/seed{seed}/cycle{cycle}.log",
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("candidates"),
        vram_mb=vram_mb_of("candidates"),
    params:
        derived=derived_option,
        depends_on=settings_of("candidates"),
        tables=lambda wildcards, input: " ".join(
            f"--table {table}" for table in input.tables
        ),
    shell:
        "mgral candidates --config {input.config}{params.derived} --dataset {input.dataset} --labelled {input.labelled}"
        " --images {input.images} --detector {input.detector} --embeddings {input.embeddings}"
        " --groups {input.groups} --table-embeddings {input.table_embeddings} {params.tables}"
        " --seed {wildcards.seed} --cycle {wildcards.cycle} --gpus {resources.gpu} --vram-mb {resources.vram_mb} --output {output} > {log} 2>&1"


rule gain:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        dataset=EXPERIMENT + "/dataset/train.json",
        images=EXPERIMENT + "/dataset/train.npy",
        test_dataset=EXPERIMENT + "/dataset/test.json",
        test_images=EXPERIMENT + "/dataset/test.npy",
        labelled=in_tried("labelled.json"),
        candidates=FIDELITY + "/candidates.json",
        weights=WEIGHTS,
    output:
        FIDELITY + "/gains{first}-{last}.json",
    log:
        LOGS + "/gain/seed{seed}/cycle{cycle}/batches{first}-{last}.log",
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("gain"),
        vram_mb=vram_mb_of("gain"),
    params:
        derived=derived_option,
        depends_on=settings_of("gain"),
        weights=weights_option,
    shell:
        "mgral gain --config {input.config}{params.derived} --dataset {input.dataset} --images {input.images}"
        " --labelled {input.labelled} --candidates {input.candidates} --test-dataset {input.test_dataset}"
        " --test-images {input.test_images}{params.weights} --first {wildcards.first} --last {wildcards.last}"
        " --seed {wildcards.seed} --cycle {wildcards.cycle} --gpus {resources.gpu} --vram-mb {resources.vram_mb} --output {output} > {log} 2>&1"


rule lookup:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=in_tried("labelled.json"),
        candidates=FIDELITY + "/candidates.json",
        subsets=lambda wildcards: [
            f"{tried_tables(wildcards)}/tables/{{table}}/split{split}/subsets.json"
            for split in range(CONFIG.lut.splits)
        ],
        of_cycle=in_tried("embeddings/default.safetensors"),
        of_initial=EXPERIMENT
        + "/seed{seed}/initial/cycle0/embeddings/default.safetensors",
        variants=lambda wildcards: [
            f"{tried_tables(wildcards)}/tables/{{table}}/split{split}/variants{first}-{last}.json"
            for split in range(CONFIG.lut.splits)
            for first, last in variant_jobs(CONFIG.lut)
        ],
    output:
        FIDELITY + "/{table}/lookups.csv",
    log:
        LOGS + "/lookup/seed{seed}/cycle{cycle}/{table}.log",
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=settings_of("lookup"),
        subsets=lambda wildcards, input: " ".join(
            f"--subsets {plan}" for plan in input.subsets
        ),
    shell:
        "mgral lookup --config {input.config} --dataset {input.dataset} --labelled {input.labelled}"
        " --candidates {input.candidates} {params.subsets}"
        " --cycle-embeddings {input.of_cycle} --initial-embeddings {input.of_initial} --seed {wildcards.seed}"
        " {input.variants} --output {output} > {log} 2>&1"


TRIED = [
    f"results/{CONFIG.experiment}/seed{seed}/fidelity/cycle{CONFIG.fidelity.cycle}"
    for seed in CONFIG.seeds
]


# Its paths have no wildcards, so that `snakemake fidelity` can name it.
rule fidelity:
    input:
        config=ancient(f"results/{CONFIG.experiment}/config.yaml"),
        gains=[
            f"{folder}/gains{first}-{last}.json"
            for folder in TRIED
            for first, last in CONFIG.gain_jobs
        ],
        candidates=[f"{folder}/candidates.json" for folder in TRIED],
        lookups=[
            f"{folder}/{table}/lookups.csv"
            for folder in TRIED
            for table in CONFIG.fidelity_tables()
        ],
    output:
        html=f"results/{CONFIG.experiment}/fidelity/report.html",
        figures=directory(f"results/{CONFIG.experiment}/fidelity/figures"),
        tables=directory(f"results/{CONFIG.experiment}/fidelity/tables"),
    log:
        f"results/{CONFIG.experiment}/logs/fidelity/fidelity.log",
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "fidelity"),
        results=f"results/{CONFIG.experiment}",
    shell:
        "mgral fidelity --config {input.config} --results {params.results} --output {output.html} > {log} 2>&1"
