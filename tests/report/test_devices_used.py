"""What the report says of devices, by records of steps."""

from pathlib import Path
from typing import Any

import pytest
from fabricated_results import fabricate

from mgral.artefacts.files import write_json
from mgral.config import load_config
from mgral.report.devices import devices_used
from mgral.report.facts import facts
from mgral.report.results import load_results


def record(folder: Path, name: str, step: str, gpu: str = "not used", **arguments: Any) -> None:
    common = {"sha256": "", "bytes": 0, "folder": "", "commit": "", "settings": {}, "inputs": {}}
    content = {**common, "step": step, "arguments": arguments, "machine": {"gpu": gpu}}
    write_json(folder / "provenance" / f"{name}.json", content)


@pytest.fixture
def on_cpu(tmp_path: Path) -> Path:
    record(tmp_path, "data", "data")
    record(tmp_path, "random", "select", gpus=0)
    for step in ("agent", "detector", "embed"):
        record(tmp_path, step, step, gpus=0)
    return tmp_path


def test_nothing_is_said_where_no_gpu_was_used(on_cpu: Path) -> None:
    assert devices_used(on_cpu) == devices_used(on_cpu / "none") == ""
    assert "Computed on" not in dict(facts(load_results(on_cpu, load_config(fabricate(on_cpu)))))


def test_steps_are_named_by_device(on_cpu: Path) -> None:
    for step in ("detector", "embed"):
        record(on_cpu, step, step, "NVIDIA H200", gpus=1)
    said = "NVIDIA H200: 2 of 3 steps (detector, embed); CPU: 1 of 3 steps (agent)"
    assert devices_used(on_cpu) == said
    assert dict(facts(load_results(on_cpu, load_config(fabricate(on_cpu)))))["Computed on"] == said
    record(on_cpu, "agent", "agent", "NVIDIA H200", gpus=1)
    assert devices_used(on_cpu) == "NVIDIA H200: 3 of 3 steps"


def test_a_step_on_several_devices_is_named(on_cpu: Path) -> None:
    record(on_cpu, "embed", "embed", "NVIDIA H200", gpus=1)
    record(on_cpu, "later/detector", "detector", "NVIDIA T4", gpus=1)
    (on_cpu / "provenance" / "damaged.json").write_text("{")
    assert devices_used(on_cpu) == (
        "NVIDIA H200: 1 of 3 steps (embed); NVIDIA T4: 1 of 3 steps (detector); CPU: 2 of 3 steps (agent, detector). "
        "Not all on one device, so that scores may differ by rounding: detector"
    )
