# The configuration and the data set, once for an experiment.
#
# config      CONFIG -> config.yaml. Every other rule takes it as `ancient` and names in `params` the settings that
#             its outputs depend on: a changed setting reruns what depends on it, a rewritten file nothing. The values
#             are no `params` here: the Snakefile says why, and how the file follows later changes.
# synthesize  -> dataset/synthetic/, for data.format synthetic only
# download    data.root -> dataset/download.json, where data.download names a public data set: what is not there yet is
#             downloaded, the rest is checked
# weights     detector.weights, train.json -> weights.safetensors: what trainings start from, unless from random weights
#             Only `download` and `weights` use a network. They run where Snakemake runs, as a cluster's nodes often
#             have none, and outside of the container, which has no proxies and sees the data set's folder read-only.
# data        a data set -> dataset/train.json, dataset/test.json, and dataset/repairs.json: what was odd and is used.
#             Of a data set on disk all annotation files are watched: a corrected label runs the step again. Pictures
#             that change in place are not.
# input_size  the JSON -> dataset/input_size.json, where the configuration sets no input size
# cache       the JSON and the images -> dataset/train.npy, dataset/test.npy, thumbnails of the images, and
#             dataset/pictures.json: what was done to odd pictures, such as turned upright
# groups      the thumbnails -> dataset/groups.json: near-copies within the training images, and across the splits

SYNTHETIC = (
    [EXPERIMENT + "/dataset/synthetic"] if CONFIG.data.format == "synthetic" else []
)

DOWNLOADED = [EXPERIMENT + "/dataset/download.json"] if downloads(CONFIG) else []

CONFIG_OPTIONS = config_options(CONFIG_FILES, OVERRIDES)


rule config:
    output:
        EXPERIMENT + "/config.yaml",
    log:
        LOGS + "/config/config.log",
    threads: 1
    resources:
        mem_mb=300,
        gpu=0,
    shell:
        "mgral config {CONFIG_OPTIONS} --output {output} > {log} 2>&1"


rule synthesize:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
    output:
        directory(EXPERIMENT + "/dataset/synthetic"),
    log:
        LOGS + "/synthesize/synthesize.log",
    threads: 1
    resources:
        mem_mb=500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "synthesize"),
    shell:
        "mgral synthesize --config {input.config} --output {output} > {log} 2>&1"


rule download:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
    output:
        EXPERIMENT + "/dataset/download.json",
    log:
        LOGS + "/download/download.log",
    localrule: True
    container:
        None
    threads: 1
    resources:
        mem_mb=1000,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "download"),
    shell:
        "mgral download --config {input.config} --output {output} > {log} 2>&1"


rule weights:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=EXPERIMENT + "/dataset/train.json",
        file=CONFIG.detector.trained.weights_file or [],
    output:
        EXPERIMENT + "/weights.safetensors",
    log:
        LOGS + "/weights/weights.log",
    localrule: True
    container:
        None
    threads: 1
    resources:
        mem_mb=2000,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "weights"),
    shell:
        "mgral weights --config {input.config} --dataset {input.dataset} --output {output} > {log} 2>&1"


rule data:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        root=SYNTHETIC,
        downloaded=DOWNLOADED,
        annotations=(
            []
            if DOWNLOADED
            else (
                list(map(ancient, annotation_files(CONFIG)))
                if SNAPSHOT
                else annotation_files(CONFIG) + label_folders(CONFIG)
            )
        ),
    output:
        train=EXPERIMENT + "/dataset/train.json",
        test=EXPERIMENT + "/dataset/test.json",
        repairs=EXPERIMENT + "/dataset/repairs.json",
    log:
        LOGS + "/data/data.log",
    threads: 1
    resources:
        mem_mb=4000,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "data"),
        root=lambda wildcards, input: f"--root {input.root}" if input.root else "",
        labels=label_state(CONFIG),
    shell:
        "mgral data --config {input.config} {params.root} --train {output.train} --test {output.test}"
        " --repairs {output.repairs} > {log} 2>&1"


rule input_size:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        train=EXPERIMENT + "/dataset/train.json",
        test=EXPERIMENT + "/dataset/test.json",
    output:
        EXPERIMENT + "/dataset/input_size.json",
    log:
        LOGS + "/input_size/input_size.log",
    threads: 1
    resources:
        mem_mb=1000,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "input_size"),
    shell:
        "mgral input_size --config {input.config} --dataset {input.train} --dataset {input.test}"
        " --output {output} > {log} 2>&1"


rule cache:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        derived=INPUT_SIZE,
        root=SYNTHETIC,
        train=EXPERIMENT + "/dataset/train.json",
        test=EXPERIMENT + "/dataset/test.json",
    output:
        train=EXPERIMENT + "/dataset/train.npy",
        test=EXPERIMENT + "/dataset/test.npy",
        train_thumbnails=EXPERIMENT + "/dataset/train.thumbnails.npy",
        test_thumbnails=EXPERIMENT + "/dataset/test.thumbnails.npy",
        pictures=EXPERIMENT + "/dataset/pictures.json",
    log:
        LOGS + "/cache/cache.log",
    threads: 1
    resources:
        mem_mb=1000,
        gpu=0,
    params:
        derived=derived_option,
        depends_on=depends_on(CONFIG, "cache"),
        root=lambda wildcards, input: f"--root {input.root}" if input.root else "",
    shell:
        "mgral cache --config {input.config}{params.derived} {params.root}"
        " --split train --dataset {input.train} --output {output.train} --thumbnails {output.train_thumbnails}"
        " --split test --dataset {input.test} --output {output.test} --thumbnails {output.test_thumbnails}"
        " --pictures {output.pictures} > {log} 2>&1"


rule groups:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        train=EXPERIMENT + "/dataset/train.json",
        test=EXPERIMENT + "/dataset/test.json",
        train_thumbnails=EXPERIMENT + "/dataset/train.thumbnails.npy",
        test_thumbnails=EXPERIMENT + "/dataset/test.thumbnails.npy",
    output:
        EXPERIMENT + "/dataset/groups.json",
    log:
        LOGS + "/groups/groups.log",
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=depends_on(CONFIG, "groups"),
    shell:
        "mgral groups --config {input.config} --dataset {input.train} --test-dataset {input.test}"
        " --thumbnails {input.train_thumbnails} --test-thumbnails {input.test_thumbnails} --output {output} > {log} 2>&1"
