# report  everything that the experiment found out -> report.html, figures/, tables/. The report shows the whole
#         configuration, and so depends on all of it.


rule report:
    input:
        config=ancient(EXPERIMENT + "/config.yaml"),
        dataset=multiext(
            EXPERIMENT + "/dataset/",
            "train.json",
            "test.json",
            "train.npy",
            "test.npy",
            "repairs.json",
            "pictures.json",
            "groups.json",
        ),
        derived=[filled(path, seed=seed) for path in DERIVED for seed in CONFIG.seeds],
        detectors=[
            f"{folder}/{name}"
            for folder in evaluated_rounds()
            for name in (
                "labelled.json",
                "metrics.json",
                "detections.json",
                *(["training.csv"] if GIVES is None else []),
            )
        ],
        selections=[f"{folder}/selection.json" for folder in queries(CONFIG.strategies)],
        agents=[
            f"{folder}/agent.{ending}"
            for folder in queries(CONFIG.agents)
            for ending in ("csv", "json")
        ],
        tables=[
            f"{folder}/{name}"
            for folder in lookup_tables()
            for name in ("leave_one_out.csv", "table.safetensors")
        ],
    output:
        html=EXPERIMENT + "/report.html",
        figures=directory(EXPERIMENT + "/figures"),
        tables=directory(EXPERIMENT + "/tables"),
    log:
        LOGS + "/report/report.log",
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        depends_on=settings_of("report"),  # called later: a string in braces would be taken for a wildcard
        results=subpath(output.html, parent=True),
    shell:
        "mgral report --config {input.config} --results {params.results} --output {output.html} > {log} 2>&1"
