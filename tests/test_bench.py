"""The benchmarks, at sizes of a moment."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from mgral.artefacts import write_arrays, write_json
from mgral.bench.reward import measure_look_up, measure_size
from mgral.cli import mgral
from mgral.errors import InputError


def test_selection_is_measured():
    arguments = ["bench", "select", "--images=200", "--dimensions=4", "--budget=10", "--json"]
    result = CliRunner().invoke(mgral, arguments, catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["chosen"] == 10
    assert found["seconds"] > 0
    assert found["peak_memory_mb"] > 10


def test_selecting_more_than_there_is_is_wrong_usage():
    result = CliRunner().invoke(mgral, ["bench", "select", "--images=5", "--budget=6"])
    assert result.exit_code == 2
    assert "--budget 6 is above --images 5" in result.stderr


def test_look_ups_in_a_table_are_measured(tmp_path):
    lut = tmp_path / "seed3" / "mgral" / "cycle0" / "lut"
    rng = np.random.default_rng(0)
    write_json(tmp_path / "config.yaml", {"reward": {"projections": 4}})
    with pytest.raises(InputError, match="holds no look-up table; run the workflow"):
        measure_look_up(tmp_path)
    table = {
        "map": rng.random(5),
        "baseline_map": rng.random(1),
        "embeddings": rng.random((5, 6, 3), dtype=np.float32),
        "projections": rng.random((3, 4), dtype=np.float32),
        "sorted": rng.random((5, 6, 4), dtype=np.float32),
        "kernel_width": np.ones(1),
    }
    write_arrays(lut / "table.safetensors", table)
    found = measure_look_up(tmp_path)
    assert (found["variants"], found["batch"], found["dimensions"]) == (5, 6, 3)
    assert found["look_up_seconds"] > 0


def test_exact_look_ups_are_slower_than_sliced_ones():
    found = measure_size(batch=200, variants=4, dimensions=8, projections=4)
    sliced, exact = (found[f"batch_200_variants_4_{kind}_look_ups_a_second"] for kind in ("sliced", "exact"))
    assert sliced > exact > 0


def test_the_agents_steps_and_look_ups_are_measured():
    sizes = ["--images=60", "--dimensions=4", "--budget=6", "--variants=3", "--projections=5", "--episodes=1"]
    result = CliRunner().invoke(mgral, ["bench", "agent", *sizes, "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert (found["images"], found["budget"], found["device"]) == (60, 6, "cpu")
    assert found["look_ups_a_second"] > 0
    assert found["peak_memory_mb"] > 10
    assert "steps_a_second" in found
