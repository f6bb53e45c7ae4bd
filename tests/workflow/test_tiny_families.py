"""The tiny experiment with detectors of other families: trained, evaluated, embedded, selected from, by MGRAL too."""

import json

import pytest
from checkpoint_folder import write_checkpoint
from run_workflow import TINY, snakemake
from slow import slow

from mgral.models.detectors.torchvision import FACTS

STRATEGIES = ("mgral", "random", "entropy_sum", "core_set")
KINDS = ("rt_detr_v2", "d_fine", "detr")


@slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", [*FACTS, *KINDS])
def test_the_tiny_experiment(model, tmp_path):
    if model in KINDS:
        write_checkpoint(tmp_path / "checkpoint", model)
        detector = "{name: transformers, checkpoint: checkpoint, width: 64, height: 64}"
    else:
        side = 320 if model.startswith("ssdlite") else 64
        detector = f"{{name: torchvision, model: {model}, weights: null, width: {side}, height: {side}}}"
    given = [f"detector={detector}", f"strategies=[{', '.join(STRATEGIES)}]", "cycles=1"]
    done = snakemake(tmp_path, "--cores", "2", "--configfile", TINY, "--config", *given)
    assert done.returncode == 0, done.stdout
    results = tmp_path / "results" / "tiny"
    assert len(list(results.rglob("metrics.json"))) == 2 + len(STRATEGIES)
    queries = {path.parts[-3]: json.loads(path.read_text()) for path in results.rglob("selection.json")}
    assert sorted(queries) == sorted(STRATEGIES)
    assert all(len(query["images"]) == 4 for query in queries.values())
    assert (results / "weights.safetensors").exists() == (model in KINDS)


def test_strategies_that_need_anchors_are_refused_before_the_first_job(tmp_path):
    given = 'detector={name: torchvision, model: ssdlite320_mobilenet_v3_large, weights: "null"}'
    done = snakemake(tmp_path, "-n", "--configfile", TINY, "--config", given, "strategies=[ppal, random]")
    assert done.returncode == 2
    assert "need" in done.stdout
