"""What Snakemake has made, taken over by DVC; the other way round is in test_dvc.py."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from dvc_project import dvc, handover, make_project
from run_workflow import ROOT, TINY

from mgral.engine.dvc_export import dvc_yaml

SEED = Path("results/tiny/seed0")


@pytest.fixture
def made(undisturbed, tmp_path, monkeypatch):
    """A project in which Snakemake, and not DVC, has made the tiny experiment, as the working directory."""
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("made")
def test_dvc_has_nothing_to_do_after_snakemake():
    Path("dvc.yaml").write_bytes(dvc_yaml(TINY))
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    assert f"dvc takes over {len(stages)} stages\n" in handover("dvc")
    assert handover("dvc") == "dvc has nothing to take over\n"
    assert "Data and pipelines are up to date" in dvc("repro", stub=False)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("made")
def test_dvc_takes_over_what_is_up_to_date_only():
    Path("params.yaml").write_text(TINY.read_text())
    Path("dvc.yaml").write_bytes(dvc_yaml(Path("params.yaml")))
    (SEED / "strategies/mgral/cycle2/metrics.json").unlink()
    altered = SEED / "strategies/random/cycle2/detector.safetensors"
    status, content = altered.stat(), bytearray(altered.read_bytes())
    content[-1] ^= 1
    altered.write_bytes(content)
    os.utime(altered, ns=(status.st_atime_ns, status.st_mtime_ns))
    # As when DVC has replaced a file, which Snakemake does not know; the settings in its record are not today's.
    record = Path("results/tiny/provenance/seed0/strategies/mgral/cycle1/agent.csv.json")
    values = json.loads(record.read_text())
    values["settings"]["agent"]["learning_rate"] = 0.5
    record.write_text(json.dumps(values))

    handover("dvc")
    left = {
        "evaluate-seed-0-round-strategies-mgral-cycle-2",
        "report",
        "detector-seed-0-round-strategies-random-cycle-2",
        "agent-seed-0-strategy-mgral-cycle-1",
    }
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    # Snakemake made config.yaml from another file than DVC is to.
    assert stages.keys() - yaml.safe_load(Path("dvc.lock").read_text())["stages"].keys() == {"config", *left}

    # A setting that was changed since is not taken for the one that the stages were made with.
    settings = yaml.safe_load(TINY.read_text())
    settings["agent"]["episodes"] = 4
    Path("params.yaml").write_text(yaml.safe_dump(settings))
    dvc("repro", "--quiet", "config", stub=False)
    assert set(json.loads(dvc("status", "--json"))) == {"agent-seed-0-strategy-mgral-cycle-0", *left}


def test_nothing_is_taken_over_in_a_fresh_clone(tmp_path, monkeypatch):
    make_project(tmp_path)
    for name in ("dvc.yaml", "dvc.lock", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    for engine in ("dvc", "snakemake"):
        assert handover(engine) == f"{engine} has nothing to take over\n"
    assert Path("dvc.lock").read_bytes() == (ROOT / "dvc.lock").read_bytes()
