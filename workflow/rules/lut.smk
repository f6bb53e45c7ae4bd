# The lookup tables, for strategies that require them: of cycle 0 for all cycles, or of each cycle (lut.refresh);
# one for each of lut.splits reward splits. They lie in the round whose detector they were made with, by the name of
# their settings, so that strategies with equal settings share them.
#
# pseudo_labels  detector.safetensors, labelled.json -> pseudo_labels.json, where variants learn them
# subsets        labelled.json, embeddings -> subsets.json
# base           subsets.json -> base.safetensors, from which every variant starts
# variant        base.safetensors, subsets i to j -> variants<i>-<j>.json; jobs side by side, variant 0 without a subset
# table          variants<i>-<j>.json of all variants -> table.safetensors, leave_one_out.csv, by the reward's distance


def in_table_embeddings(wildcards):
    """The embeddings that a table's subsets are drawn by, of the same round."""
    own = CONFIG.with_settings("table", wildcards.table)
    return f"{ROUND}/embeddings/{own.embedding_in(CONFIG)}.safetensors"


def in_variants(wildcards):
    own = CONFIG.with_settings("table", wildcards.table)
    return [
        f"{TABLE}/variants{first}-{last}.json" for first, last in variant_jobs(own.lut)
    ]


def in_pseudo_labels(wildcards):
    own = CONFIG.with_settings("table", wildcards.table)
    return [ROUND + "/pseudo_labels.json"] if own.lut.labels == "pseudo_labels" else []


rule pseudo_labels:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        dataset=EXPERIMENT + "/dataset/train.json",
        images=TRAIN_IMAGES,
        labelled=ROUND + "/labelled.json",
        detector=ROUND + "/detector.safetensors",
    output:
        ROUND + "/pseudo_labels.json",
    log:
        LOGS + "/pseudo_labels/seed{seed}/{round}/cycle{cycle}.log",
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("pseudo_labels"),
        vram_mb=vram_mb_of("pseudo_labels"),
    params:
        derived=derived_option,
        depends_on=settings_of("pseudo_labels"),
    shell:
        "mgral pseudo_labels --config {input.config}{params.derived} --dataset {input.dataset} --images {input.images}"
        " --labelled {input.labelled} --detector {input.detector} --gpus {resources.gpu} --vram-mb {resources.vram_mb} --output {output} > {log} 2>&1"


rule subsets:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=ROUND + "/labelled.json",
        embeddings=in_table_embeddings,
    output:
        TABLE + "/subsets.json",
    log:
        LOGS + "/subsets/seed{seed}/{round}/cycle{cycle}/{table}/split{split}.log",
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=settings_of("subsets"),
    shell:
        "mgral subsets --config {input.config} --dataset {input.dataset} --labelled {input.labelled}"
        " --embeddings {input.embeddings} --seed {wildcards.seed} --cycle {wildcards.cycle} --split {wildcards.split} --table {wildcards.table}"
        " --output {output} > {log} 2>&1"


rule base:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        dataset=EXPERIMENT + "/dataset/train.json",
        images=TRAIN_IMAGES,
        subsets=TABLE + "/subsets.json",
        weights=WEIGHTS,
    output:
        TABLE + "/base.safetensors",
    log:
        LOGS + "/base/seed{seed}/{round}/cycle{cycle}/{table}/split{split}.log",
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("base"),
        vram_mb=vram_mb_of("base"),
    params:
        derived=derived_option,
        depends_on=settings_of("base"),
        weights=weights_option,
    shell:
        "mgral base --config {input.config}{params.derived} --dataset {input.dataset} --images {input.images}"
        " --subsets {input.subsets}{params.weights} --seed {wildcards.seed} --cycle {wildcards.cycle} --split {wildcards.split}"
        " --table {wildcards.table} --gpus {resources.gpu} --vram-mb {resources.vram_mb} --output {output} > {log} 2>&1"


rule variant:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        dataset=EXPERIMENT + "/dataset/train.json",
        images=TRAIN_IMAGES,
        subsets=TABLE + "/subsets.json",
        base=TABLE + "/base.safetensors",
        pseudo_labels=in_pseudo_labels,
    output:
        TABLE + "/variants{first}-{last}.json",
    log:
        LOGS
        + "/variant/seed{seed}/{round}/cycle{cycle}/{table}/split{split}/variants{first}-{last}.log",
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("variant"),
        vram_mb=vram_mb_of("variant"),
    params:
        derived=derived_option,
        depends_on=settings_of("variant"),
        pseudo_labels=lambda wildcards, input: (
            f" --pseudo-labels {input.pseudo_labels}" if input.pseudo_labels else ""
        ),
    shell:
        "mgral variant --config {input.config}{params.derived} --dataset {input.dataset} --images {input.images}"
        " --subsets {input.subsets}{params.pseudo_labels} --base {input.base} --first {wildcards.first} --last {wildcards.last}"
        " --seed {wildcards.seed} --cycle {wildcards.cycle} --split {wildcards.split} --table {wildcards.table} --gpus {resources.gpu} --vram-mb {resources.vram_mb} --output {output} > {log} 2>&1"


rule table:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        subsets=TABLE + "/subsets.json",
        embeddings=in_table_embeddings,
        variants=in_variants,
    output:
        table=TABLE + "/{reward}/table.safetensors",
        leave_one_out=TABLE + "/{reward}/leave_one_out.csv",
    log:
        LOGS
        + "/table/seed{seed}/{round}/cycle{cycle}/{table}/split{split}/{reward}.log",
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=settings_of("table"),
    shell:
        "mgral table --config {input.config} --subsets {input.subsets} --embeddings {input.embeddings}"
        " --seed {wildcards.seed} --table {wildcards.table} --reward {wildcards.reward} {input.variants} --output {output.table} --leave-one-out {output.leave_one_out}"
        " > {log} 2>&1"
