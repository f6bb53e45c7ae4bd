# Fidelity, an experiment of its own: `snakemake fidelity`. Of batches that are labelled for it, the true gain, measured
# on the test images, beside what tables of every kind say. No other rule reads any of this.
#
# candidates  random's labelled.json and embeddings.safetensors at a cycle -> candidates.json
# gain        candidates.json, test.npy -> gains<i>-<j>.json; jobs side by side
# (tables)    the rules of lut.smk once more, for each kind of table -> {source}/split<s>/subsets.json ... variants<i>-<j>.json
# (teacher)   where variants learn from a teacher, its labels once more -> pseudo_labels.json
# lookup      candidates.json, {source}/split<s>/variants<i>-<j>.json -> {source}/split<s>/lookups.csv
# fidelity    all of these -> fidelity/report.html, figures/, tables/

from itertools import product

FIDELITY = EXPERIMENT + "/seed{seed}/fidelity/cycle{cycle}"
SOURCE = FIDELITY + "/{source}/split{split}"
SOURCES = {
    f"{labels}_{start}": f" --labels {labels} --start {start}"
    for labels, start in product(
        ("consistency", "labels", "pseudo_labels"), ("warm", "cold")
    )
}
BATCHES_PER_JOB = max(1, CONFIG.lut.variants_per_job // CONFIG.fidelity.repeats)
GAIN_JOBS = [
    (first, min(first + BATCHES_PER_JOB - 1, CONFIG.fidelity.batches))
    for first in range(0, CONFIG.fidelity.batches + 1, BATCHES_PER_JOB)
]


wildcard_constraints:
    source="|".join(SOURCES),


def in_tried(name):
    """The file of random's cycle that the batches are tried on."""

    def path(wildcards):
        strategy = "random" if int(wildcards.cycle) else "initial"
        return f"{EXPERIMENT}/seed{{seed}}/{strategy}/cycle{{cycle}}/{name}"

    return path


rule candidates:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=in_tried("labelled.json"),
        embeddings=in_tried("embeddings.safetensors"),
    output:
        FIDELITY + "/candidates.json",
    log:
        LOGS + "/candidates/seed{seed}_cycle{cycle}.log",
    benchmark:
        BENCHMARKS + "/candidates/seed{seed}_cycle{cycle}.tsv"
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "candidates"),
    shell:
        "mgral candidates --config {input.config} --dataset {input.dataset} --labelled {input.labelled}"
        " --embeddings {input.embeddings} --seed {wildcards.seed} --cycle {wildcards.cycle} --output {output} 2> {log}"


rule gain:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
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
        LOGS + "/gain/seed{seed}_cycle{cycle}_batches{first}-{last}.log",
    benchmark:
        BENCHMARKS + "/gain/seed{seed}_cycle{cycle}_batches{first}-{last}.tsv"
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=0,
        vram_mb=card_memory_mb(CONFIG, "detector"),
    params:
        depends_on=depends_on(CONFIG, "gain"),
        weights=weights_option,
    shell:
        "mgral gain --config {input.config} --dataset {input.dataset} --images {input.images}"
        " --labelled {input.labelled} --candidates {input.candidates} --test-dataset {input.test_dataset}"
        " --test-images {input.test_images}{params.weights} --first {wildcards.first} --last {wildcards.last}"
        " --seed {wildcards.seed} --cycle {wildcards.cycle} --gpus {resources.gpu} --output {output} 2> {log}"


use rule subsets as subsets_of_source with:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=in_tried("labelled.json"),
        embeddings=in_tried("embeddings.safetensors"),
    output:
        SOURCE + "/subsets.json",
    log:
        LOGS + "/subsets_of_source/seed{seed}_cycle{cycle}_{source}_split{split}.log",
    benchmark:
        BENCHMARKS
        + "/subsets_of_source/seed{seed}_cycle{cycle}_{source}_split{split}.tsv"
    params:
        depends_on=depends_on(CONFIG, "subsets"),
        source=lambda wildcards: SOURCES[wildcards.source],


use rule pseudo_labels as pseudo_labels_of_source with:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        images=EXPERIMENT + "/dataset/train.npy",
        labelled=in_tried("labelled.json"),
        detector=in_tried("detector.safetensors"),
    output:
        FIDELITY + "/pseudo_labels.json",
    log:
        LOGS + "/pseudo_labels_of_source/seed{seed}_cycle{cycle}.log",
    benchmark:
        BENCHMARKS + "/pseudo_labels_of_source/seed{seed}_cycle{cycle}.tsv"


use rule base as base_of_source with:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        images=EXPERIMENT + "/dataset/train.npy",
        subsets=SOURCE + "/subsets.json",
        weights=WEIGHTS,
    output:
        SOURCE + "/base.safetensors",
    log:
        LOGS + "/base_of_source/seed{seed}_cycle{cycle}_{source}_split{split}.log",
    benchmark:
        BENCHMARKS + "/base_of_source/seed{seed}_cycle{cycle}_{source}_split{split}.tsv"


use rule variant as variant_of_source with:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        images=EXPERIMENT + "/dataset/train.npy",
        subsets=SOURCE + "/subsets.json",
        base=SOURCE + "/base.safetensors",
        pseudo_labels=lambda wildcards: (
            [FIDELITY + "/pseudo_labels.json"]
            if wildcards.source.startswith("pseudo_labels")
            else []
        ),
    output:
        SOURCE + "/variants{first}-{last}.json",
    log:
        LOGS
        + "/variant_of_source/seed{seed}_cycle{cycle}_{source}_split{split}_variants{first}-{last}.log",
    benchmark:
        BENCHMARKS
        + "/variant/seed{seed}_cycle{cycle}_{source}_split{split}_variants{first}-{last}.tsv"


rule lookup:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        candidates=FIDELITY + "/candidates.json",
        subsets=SOURCE + "/subsets.json",
        of_cycle=in_tried("embeddings.safetensors"),
        of_initial=EXPERIMENT + "/seed{seed}/initial/cycle0/embeddings.safetensors",
        variants=[
            f"{SOURCE}/variants{first}-{last}.json"
            for first, last in variant_jobs(CONFIG.lut)
        ],
    output:
        SOURCE + "/lookups.csv",
    log:
        LOGS + "/lookup/seed{seed}_cycle{cycle}_{source}_split{split}.log",
    benchmark:
        BENCHMARKS + "/lookup/seed{seed}_cycle{cycle}_{source}_split{split}.tsv"
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "lookup"),
    shell:
        "mgral lookup --config {input.config} --candidates {input.candidates} --subsets {input.subsets}"
        " --cycle-embeddings {input.of_cycle} --initial-embeddings {input.of_initial} --seed {wildcards.seed}"
        " {input.variants} --output {output} 2> {log}"


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
            for first, last in GAIN_JOBS
        ],
        lookups=[
            f"{folder}/{source}/split{split}/lookups.csv"
            for folder in TRIED
            for source in SOURCES
            for split in range(CONFIG.lut.splits)
        ],
    output:
        html=f"results/{CONFIG.experiment}/fidelity/report.html",
        figures=directory(f"results/{CONFIG.experiment}/fidelity/figures"),
        tables=directory(f"results/{CONFIG.experiment}/fidelity/tables"),
    log:
        f"results/{CONFIG.experiment}/logs/fidelity/fidelity.log",
    benchmark:
        f"results/{CONFIG.experiment}/benchmarks/fidelity/fidelity.tsv"
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "fidelity"),
        results=f"results/{CONFIG.experiment}",
    shell:
        "mgral fidelity --config {input.config} --results {params.results} --output {output.html} 2> {log}"
