# The lookup tables of strategy mgral: of cycle 0 for all cycles, or of each cycle (lut.refresh); one for each of
# lut.splits reward splits, in lut/split<s>/.
#
# teacher  detector.safetensors, labelled.json -> lut/pseudo_labels.json, for all splits, where variants learn its labels
# subsets  labelled.json, embeddings.safetensors -> subsets.json
# base     subsets.json -> base.safetensors, from which every variant starts
# variant  base.safetensors, subsets i to j -> variants<i>-<j>.json; jobs side by side, variant 0 without a subset
# table    variants<i>-<j>.json of all variants -> table.safetensors, leave_one_out.csv


rule pseudo_labels:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        images=EXPERIMENT + "/dataset/train.npy",
        labelled=in_round("labelled.json"),
        detector=in_round("detector.safetensors"),
    output:
        MGRAL + "/lut/pseudo_labels.json",
    log:
        LOGS + "/pseudo_labels/seed{seed}_mgral_cycle{cycle}.log",
    benchmark:
        BENCHMARKS + "/pseudo_labels/seed{seed}_mgral_cycle{cycle}.tsv"
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=0,
        vram_mb=card_memory_mb(CONFIG, "evaluate"),
    params:
        depends_on=depends_on(CONFIG, "pseudo_labels"),
    shell:
        "mgral pseudo_labels --config {input.config} --dataset {input.dataset} --images {input.images}"
        " --labelled {input.labelled} --detector {input.detector} --gpus {resources.gpu} --output {output} 2> {log}"


rule subsets:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=in_round("labelled.json"),
        embeddings=in_round("embeddings.safetensors"),
    output:
        LUT + "/subsets.json",
    log:
        LOGS + "/subsets/seed{seed}_mgral_cycle{cycle}_split{split}.log",
    benchmark:
        BENCHMARKS + "/subsets/seed{seed}_mgral_cycle{cycle}_split{split}.tsv"
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "subsets"),
        source="",  # in fidelity.smk the kind of table
    shell:
        "mgral subsets --config {input.config} --dataset {input.dataset} --labelled {input.labelled}"
        " --embeddings {input.embeddings} --seed {wildcards.seed} --cycle {wildcards.cycle} --split {wildcards.split}{params.source}"
        " --output {output} 2> {log}"


rule base:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        images=EXPERIMENT + "/dataset/train.npy",
        subsets=LUT + "/subsets.json",
        weights=WEIGHTS,
    output:
        LUT + "/base.safetensors",
    log:
        LOGS + "/base/seed{seed}_mgral_cycle{cycle}_split{split}.log",
    benchmark:
        BENCHMARKS + "/base/seed{seed}_mgral_cycle{cycle}_split{split}.tsv"
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=0,
        vram_mb=card_memory_mb(CONFIG, "base"),
    params:
        depends_on=depends_on(CONFIG, "base"),
        weights=weights_option,
    shell:
        "mgral base --config {input.config} --dataset {input.dataset} --images {input.images}"
        " --subsets {input.subsets}{params.weights} --seed {wildcards.seed} --cycle {wildcards.cycle} --split {wildcards.split}"
        " --gpus {resources.gpu} --output {output} 2> {log}"


rule variant:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        images=EXPERIMENT + "/dataset/train.npy",
        subsets=LUT + "/subsets.json",
        base=LUT + "/base.safetensors",
        pseudo_labels=[MGRAL + "/lut/pseudo_labels.json"] if CONFIG.lut.labels == "pseudo_labels" else [],
    output:
        LUT + "/variants{first}-{last}.json",
    log:
        LOGS
        + "/variant/seed{seed}_mgral_cycle{cycle}_split{split}_variants{first}-{last}.log",
    benchmark:
        BENCHMARKS
        + "/variant/seed{seed}_mgral_cycle{cycle}_split{split}_variants{first}-{last}.tsv"
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=0,
        vram_mb=card_memory_mb(CONFIG, "variant"),
    params:
        depends_on=depends_on(CONFIG, "variant"),
        pseudo_labels=lambda wildcards, input: (
            f" --pseudo-labels {input.pseudo_labels}" if input.pseudo_labels else ""
        ),
    shell:
        "mgral variant --config {input.config} --dataset {input.dataset} --images {input.images}"
        " --subsets {input.subsets}{params.pseudo_labels} --base {input.base} --first {wildcards.first} --last {wildcards.last}"
        " --seed {wildcards.seed} --cycle {wildcards.cycle} --split {wildcards.split} --gpus {resources.gpu} --output {output} 2> {log}"


rule table:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        subsets=LUT + "/subsets.json",
        embeddings=in_round("embeddings.safetensors"),
        variants=[
            f"{LUT}/variants{first}-{last}.json"
            for first, last in variant_jobs(CONFIG.lut)
        ],
    output:
        table=LUT + "/table.safetensors",
        leave_one_out=LUT + "/leave_one_out.csv",
    log:
        LOGS + "/table/seed{seed}_mgral_cycle{cycle}_split{split}.log",
    benchmark:
        BENCHMARKS + "/table/seed{seed}_mgral_cycle{cycle}_split{split}.tsv"
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "table"),
    shell:
        "mgral table --config {input.config} --subsets {input.subsets} --embeddings {input.embeddings}"
        " --seed {wildcards.seed} {input.variants} --output {output.table} --leave-one-out {output.leave_one_out}"
        " 2> {log}"
