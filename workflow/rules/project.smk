# Rules that only a round of a project has. Its labels, and the images that cannot be chosen, are in its snapshot.
# Snapshots, lists and pixels are `ancient`: they never change, and a copy of the project may have other times.
#
# pictures   a list of pictures -> their pixels and thumbnails, once for all rounds. The list is the only input:
#            pictures may be renamed, and the step compares their content with the list.
# index      snapshot.json, train.json, test.json -> train.images.json, test.images.json, thumbnails: in the place of a
#            cache, where each image of the round is among the pixels of all
# prelabels  selection.json, detector.safetensors -> prelabels.json: what is found in the chosen images
# held_out   snapshot.json, detector.safetensors -> held_out.json: what is found in the labelled images that the snapshot
#            says the detector does not learn; only of an experiment that compares detectors (`mgral project check`)


ruleorder: index > cache


# No setting is a parameter here: all that decide about pixels are in the name of the folder. Others, such as
# data.max_pixels, may change in a later round without making the pixels again.
PICTURE_OPTIONS = CANVAS.options


rule pictures:
    input:
        ancient(f"{PICTURES}/{{digest}}.json"),
    output:
        pixels=PIXELS + ".npy",
        thumbnails=PIXELS + ".thumbnails.npy",
        gone=PIXELS + ".json",
    log:
        "results/pictures/{canvas}/logs/{digest}.log",
    threads: 1
    resources:
        mem_mb=1000,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "pictures"),
    shell:
        "mgral pictures --chunk {input} {PICTURE_OPTIONS} --output {output.pixels}"
        " --thumbnails {output.thumbnails} --gone {output.gone} > {log} 2>&1"


rule index:
    input:
        snapshot=ancient(CONFIG.data.snapshot),
        train=EXPERIMENT + "/dataset/train.json",
        test=EXPERIMENT + "/dataset/test.json",
        pixels=[
            ancient(path.format(canvas=CANVAS.folder, digest=digest))
            for digest in SNAPSHOT.chunks
            for path in (
                PIXELS + ".npy",
                PIXELS + ".thumbnails.npy",
                PIXELS + ".json",
            )
        ],
        chunks=[ancient(f"{PICTURES}/{digest}.json") for digest in SNAPSHOT.chunks],
    output:
        train=TRAIN_IMAGES,
        test=TEST_IMAGES,
        train_thumbnails=EXPERIMENT + "/dataset/train.thumbnails.npy",
        test_thumbnails=EXPERIMENT + "/dataset/test.thumbnails.npy",
    log:
        LOGS + "/index/index.log",
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "index"),
        folder=f"results/pictures/{CANVAS.folder}",
    shell:
        "mgral index --snapshot {input.snapshot} --pixels {params.folder}"
        " --dataset {input.train} --output {output.train} --thumbnails {output.train_thumbnails}"
        " --dataset {input.test} --output {output.test} --thumbnails {output.test_thumbnails} > {log} 2>&1"


rule prelabels:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=[filled(path, seed=CONFIG.seeds[0]) for path in DERIVED],
        dataset=EXPERIMENT + "/dataset/train.json",
        images=TRAIN_IMAGES,
        selection=[
            f"{folder}/selection.json" for folder in queries(CONFIG.strategies)
        ][:1],
        detector=filled(
            f"{ROUND}/{FINDS}", seed=CONFIG.seeds[0], round="initial", cycle=0
        ),
    output:
        EXPERIMENT + "/prelabels.json",
    log:
        LOGS + "/prelabels/prelabels.log",
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("prelabels"),
        vram_mb=vram_mb_of("prelabels"),
    params:
        derived=derived_option,
        depends_on=depends_on(CONFIG, "prelabels"),
    shell:
        "mgral prelabels --config {input.config}{params.derived} --dataset {input.dataset} --images {input.images}"
        " --selection {input.selection} --detector {input.detector} --gpus {resources.gpu} --vram-mb {resources.vram_mb} --output {output} > {log} 2>&1"


rule held_out:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=DERIVED,
        snapshot=ancient(CONFIG.data.snapshot),
        dataset=EXPERIMENT + "/dataset/train.json",
        images=TRAIN_IMAGES,
        detector=f"{ROUND}/{FINDS}",
    output:
        ROUND + "/held_out.json",
    log:
        LOGS + "/held_out/seed{seed}/{round}/cycle{cycle}.log",
    wildcard_constraints:
        round="initial",
    threads: 1
    resources:
        mem_mb=MEM_MB,
        gpu=gpus_of("held_out"),
        vram_mb=vram_mb_of("held_out"),
    params:
        derived=derived_option,
        depends_on=settings_of("held_out"),
    shell:
        "mgral held_out --config {input.config}{params.derived} --dataset {input.dataset} --images {input.images}"
        " --snapshot {input.snapshot} --seed {wildcards.seed} --detector {input.detector} --gpus {resources.gpu} --vram-mb {resources.vram_mb}"
        " --output {output} > {log} 2>&1"
