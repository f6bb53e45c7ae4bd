# A point of a curve: the labelled set of a cycle, the detector trained on it and its scores. The same rules serve
# every strategy, the shared cycle 0 (round initial) and the detector of all training images (round full).
#
# initial   train.json -> labelled.json of cycle 0; in a round of a project from its snapshot
# label     labelled.json and selection.json of a cycle -> labelled.json of the next one
# derive    labelled.json of cycle 0 -> derived.json: the settings that are null, such as anchors and iterations
# detector  labelled.json, train.npy -> detector.safetensors, training.csv
# head      detector.safetensors, labelled.json, train.npy -> heads/<type>.safetensors, heads/<type>.csv: of a strategy that
#           requires one
# external  labelled.json, the pictures -> external.safetensors, of a detector that is a command of the user's own; the
#           rule `detector` then trains its proxy, where a lookup table or an embedding needs one. Outside of the
#           container of --use-singularity: the step runs the command here or in detector.container.
# evaluate  detector.safetensors, test.npy -> metrics.json, detections.json
# embed     detector.safetensors, train.npy -> embeddings/ of all training images; weights.safetensors where no image
#           is labelled


rule initial:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        snapshot=ancient(CONFIG.data.snapshot) if SNAPSHOT else [],
    output:
        EXPERIMENT + "/seed{seed}/{round}/cycle0/labelled.json",
    log:
        LOGS + "/initial/seed{seed}/{round}.log",
    wildcard_constraints:
        round="initial|full",
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=settings_of("initial"),
        all=lambda wildcards, input: (
            f"--snapshot {input.snapshot}"
            if input.snapshot
            else ("--all" if wildcards.round == "full" else "")
        ),
    shell:
        "mgral initial --config {input.config} --dataset {input.dataset} --seed {wildcards.seed} {params.all}"
        " --output {output} > {log} 2>&1"


def in_previous(name):
    """The file of the cycle before the job's."""

    def path(wildcards):
        cycle = int(wildcards.cycle) - 1
        folder = f"{EXPERIMENT}/seed{{seed}}/strategies/{{strategy}}/cycle{cycle}"
        if name == "labelled.json":
            folder = round_of(wildcards.strategy, cycle)
        return f"{folder}/{name}"

    return path


rule label:
    input:
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=in_previous("labelled.json"),
        selection=in_previous("selection.json"),
    output:
        STRATEGY + "/labelled.json",
    log:
        LOGS + "/label/seed{seed}/{strategy}/cycle{cycle}.log",
    wildcard_constraints:
        cycle=r"[1-9]\d*",
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "label"),
    shell:
        "mgral label --dataset {input.dataset} --labelled {input.labelled} --selection {input.selection}"
        " --output {output} > {log} 2>&1"


rule derive:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=INPUT_SIZE,
        dataset=EXPERIMENT + "/dataset/train.json",
        labelled=EXPERIMENT + "/seed{seed}/initial/cycle0/labelled.json",
    output:
        EXPERIMENT + "/seed{seed}/derived.json",
    log:
        LOGS + "/derive/seed{seed}.log",
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        derived=derived_option,
        depends_on=depends_on(CONFIG, "derive"),
    shell:
        "mgral derive --config {input.config}{params.derived} --dataset {input.dataset} --labelled {input.labelled}"
        " --output {output} > {log} 2>&1"


rule detector:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        dataset=EXPERIMENT + "/dataset/train.json",
        images=TRAIN_IMAGES,
        labelled=ROUND + "/labelled.json",
        weights=WEIGHTS,
    output:
        weights=ROUND + "/detector.safetensors",
        training=ROUND + "/training.csv",
    log:
        LOGS + "/detector/seed{seed}/{round}/cycle{cycle}.log",
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("detector"),
        vram_mb=vram_mb_of("detector"),
    params:
        derived=derived_option,
        depends_on=settings_of("detector"),
        weights=weights_option,
    shell:
        "mgral detector --config {input.config}{params.derived} --dataset {input.dataset} --images {input.images}"
        " --labelled {input.labelled}{params.weights} --seed {wildcards.seed} --cycle {wildcards.cycle}"
        " --gpus {resources.gpu} --vram-mb {resources.vram_mb} --output {output.weights} --log-csv {output.training} > {log} 2>&1"


rule head:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        dataset=EXPERIMENT + "/dataset/train.json",
        images=TRAIN_IMAGES,
        labelled=ROUND + "/labelled.json",
        weights=WEIGHTS,
        detector=ROUND + "/detector.safetensors",
    output:
        weights=ROUND + "/heads/{type}.safetensors",
        training=ROUND + "/heads/{type}.csv",
    log:
        LOGS + "/head/seed{seed}/{round}/cycle{cycle}/{type}.log",
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("head"),
        vram_mb=vram_mb_of("head"),
    params:
        derived=derived_option,
        depends_on=settings_of("head"),
        weights=weights_option,
    shell:
        "mgral head --config {input.config}{params.derived} --type {wildcards.type} --dataset {input.dataset}"
        " --images {input.images} --labelled {input.labelled}{params.weights} --detector {input.detector}"
        " --seed {wildcards.seed} --cycle {wildcards.cycle} --gpus {resources.gpu} --vram-mb {resources.vram_mb}"
        " --output {output.weights} --log-csv {output.training} > {log} 2>&1"


rule external:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        test_dataset=EXPERIMENT + "/dataset/test.json",
        root=SYNTHETIC,
        labelled=ROUND + "/labelled.json",
    output:
        ROUND + "/external.safetensors",
    log:
        LOGS + "/external/seed{seed}/{round}/cycle{cycle}.log",
    container:
        None
    threads: 1
    resources:
        mem_mb=MEM_MB,
        # Nobody knows what a command takes of a card, so it has a card for itself.
        gpu=DEVICES.gpus(1),
        vram_mb=DEVICES.largest_mb or 1_000_000,
    params:
        depends_on=settings_of("external"),
        root=lambda wildcards, input: f" --root {input.root}" if input.root else "",
        folder=EXPERIMENT + "/external/seed{seed}/{round}/cycle{cycle}",
    shell:
        "mgral external --config {input.config} --dataset {input.dataset}"
        " --test-dataset {input.test_dataset}{params.root} --labelled {input.labelled} --seed {wildcards.seed}"
        " --cycle {wildcards.cycle} --gpus {resources.gpu} --vram-mb {resources.vram_mb} --folder {params.folder} --output {output} > {log} 2>&1"


rule evaluate:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        dataset=EXPERIMENT + "/dataset/test.json",
        images=TEST_IMAGES,
        detector=f"{ROUND}/{FINDS}",
    output:
        metrics=ROUND + "/metrics.json",
        detections=ROUND + "/detections.json",
    log:
        LOGS + "/evaluate/seed{seed}/{round}/cycle{cycle}.log",
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("evaluate"),
        vram_mb=vram_mb_of("evaluate"),
    params:
        derived=derived_option,
        depends_on=settings_of("evaluate"),
    shell:
        "mgral evaluate --config {input.config}{params.derived} --dataset {input.dataset} --images {input.images}"
        " --detector {input.detector} --gpus {resources.gpu} --vram-mb {resources.vram_mb}"
        " --metrics {output.metrics} --detections {output.detections} > {log} 2>&1"


rule embed:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        dataset=EXPERIMENT + "/dataset/train.json",
        images=TRAIN_IMAGES,
        labelled=ROUND + "/labelled.json",
        detector=[] if COLD_START else f"{ROUND}/{EMBEDS}",
        weights=WEIGHTS if COLD_START else [],
    output:
        ROUND + "/embeddings/{embedding}.safetensors",
    log:
        LOGS + "/embed/seed{seed}/{round}/cycle{cycle}/{embedding}.log",
    priority: LONGEST_CHAIN
    threads: 1
    resources:
        mem_mb=4000,
        gpu=gpus_of("embed"),
        vram_mb=vram_mb_of("embed"),
    params:
        derived=derived_option,
        depends_on=settings_of("embed"),
        detector=lambda wildcards, input: (
            f"--detector {input.detector}"
            if input.detector
            else weights_option(wildcards, input)
        ),
    shell:
        "mgral embed --config {input.config}{params.derived} --dataset {input.dataset} --images {input.images}"
        " --labelled {input.labelled} {params.detector} --seed {wildcards.seed} --gpus {resources.gpu} --vram-mb {resources.vram_mb}"
        " --embedding {wildcards.embedding} --output {output} > {log} 2>&1"
