"""The tiny experiment with detectors of each family: trained, evaluated, embedded, selected from, by MGRAL too.

A detector of each family with the strategies that all have in common is in `.ci/run`; with MGRAL_FULL, as in
`.ci/run --full`, every detector has every strategy that it is enough for, and its fidelity.
"""

import pytest
from checkpoint_folder import write_checkpoint
from run_workflow import TINY, snakemake
from slow import FULL, slow

from mgral.config import resolve_config
from mgral.models.detectors.torchvision import FACTS

COMMON = ("mgral", "random", "entropy_sum", "core_set")
SMALL = "width: 64, height: 64"
CHECKPOINTS = ("rt_detr_v2", "d_fine", "detr")
SECTIONS = {
    "ssd": f"name: ssd, {SMALL}",
    "retinanet": f"name: retinanet, {SMALL}",
    "rt_detr_v2": f"name: transformers, checkpoint: checkpoint, {SMALL}",
    "fasterrcnn_mobilenet_v3_large_320_fpn": "",
}
"""A detector of each family; `small_ssd` and `external` have tests of their own."""
MORE = {
    "small_ssd": f"name: small_ssd, {SMALL}, channels: 8",
    "ssd300_vgg16": "name: ssd300_vgg16, weights: null",
    "retinanet_resnet50_fpn": "name: retinanet_resnet50_fpn, weights: null, canvas: 128",
    "d_fine": SECTIONS["rt_detr_v2"],
    "detr": SECTIONS["rt_detr_v2"],
}
MORE |= {model: "" for model in FACTS if model not in SECTIONS}


def section(detector):
    """Return the settings of a detector as --config takes them."""
    side = 320 if detector.startswith("ssdlite") else 64
    of_torchvision = f"name: torchvision, model: {detector}, weights: null, width: {side}, height: {side}"
    return f"detector={{{(SECTIONS | MORE)[detector] or of_torchvision}}}"


@slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("detector", [*SECTIONS, *(MORE if FULL else ())])
def test_the_tiny_experiment(detector, tmp_path):
    if detector in CHECKPOINTS:
        write_checkpoint(tmp_path / "checkpoint", detector)
    strategies = "all" if FULL else f"[{', '.join(COMMON)}]"
    given = [section(detector), f"strategies={strategies}", "cycles=1"]
    targets = ("all", "fidelity") if FULL else ("all",)
    done = snakemake(tmp_path, *targets, "--cores", "2", "--configfile", TINY, "--config", *given)
    assert done.returncode == 0, done.stdout
    results = tmp_path / "results" / "tiny"
    chosen = {path.parent.parent.name for path in results.glob("seed0/strategies/*/cycle0/selection.json")}
    assert chosen >= set(COMMON)
    assert len(list(results.rglob("metrics.json"))) == 2 + len(chosen)
    assert not FULL or (results / "fidelity" / "report.html").exists()


def test_what_a_family_is_not_enough_for_is_refused_by_name():
    values = {"detector": {"name": "torchvision", "model": "fcos_resnet50_fpn", "weights": None}}
    assert list(resolve_config(values).strategies) == ["mgral_greedy", "random", "sqrt_counts", "entropy_sum"]
    kept = resolve_config(values | {"strategies": "all"}).strategies
    assert {"mgral", "random", "entropy_sum", "core_set", "cald"} <= set(kept)
    assert not {"ppal", "meh_hua", "entropy_anchors"} & set(kept)
