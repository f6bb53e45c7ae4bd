import csv
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from fabricated_results import fabricate, fabricate_costs, record_cost

from mgral.config import load_config, registry
from mgral.errors import InputError
from mgral.report.times import duration
from mgral.report.timings import Made, write_timings


def run(folder: Path, made: list[Made]) -> Path:
    write_timings(load_config(folder / "config.yaml"), folder, made)
    return folder / "timings"


def rows(path: Path) -> dict[str, dict[str, str]]:
    """The lines of a table by their first column."""
    with path.open(newline="") as file:
        return {next(iter(row.values())): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def timings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    fabricate(folder)
    return run(folder, fabricate_costs(folder))


def test_costs_of_a_cycle_by_hand(timings: Path) -> None:
    costs = rows(timings / "costs_by_cycle.csv")
    assert list(costs) == ["mgral", "random", "entropy_anchors"]
    # embed 4 s; for each of two splits six variants of 8 s, and subsets, base and table of 2 s each.
    assert float(costs["mgral"]["lut_s"]) == pytest.approx(4 + 2 * (6 * 8 + 3 * 2))
    # Cycle 0 has the shared detector of 30 s and cycle 1 one of 40 s, each with an agent of 10 s.
    assert float(costs["mgral"]["training_s"]) == pytest.approx((30 + 10 + 40 + 10) / 2)
    assert float(costs["mgral"]["selection_s"]) == pytest.approx(3.5)
    assert costs["random"]["lut_s"] == ""
    assert float(costs["random"]["training_s"]) == pytest.approx((30 + 40 + 40) / 3)


def test_a_head_counts_with_the_training_of_its_strategy(tmp_path: Path) -> None:
    fabricate(tmp_path, strategies=("random", "llal", "meh_hua"))
    made = fabricate_costs(tmp_path)
    for seed in "01":
        for place, cycle in (("initial", 0), ("strategies/llal", 1)):
            names = {"seed": seed, "round": place, "cycle": str(cycle), "type": "llal"}
            head = tmp_path / f"seed{seed}" / place / f"cycle{cycle}" / "heads" / "llal.safetensors"
            made += [record_cost(head, "head", 50.0, names=names)]
    costs = rows(run(tmp_path, made) / "costs_by_cycle.csv")
    # The shared detector of 30 s and the next one of 40 s; that of the last cycle has no head.
    assert float(costs["llal"]["training_s"]) == pytest.approx((30 + 50 + 40 + 50) / 2)
    assert float(costs["meh_hua"]["training_s"]) == pytest.approx((30 + 40 + 40) / 3)


def test_embeddings_cost_the_strategy_that_chooses_by_them(tmp_path: Path) -> None:
    fabricate(tmp_path, strategies=tuple(registry.strategies()))
    made = fabricate_costs(tmp_path)
    for seed in (0, 1):
        # A table of mgral's in cycle 1, too, whose embeddings are its own.
        own = {"seed": str(seed), "round": "strategies/mgral", "cycle": "1"}
        made += [
            record_cost(tmp_path / f"seed{seed}" / step, step, s, names=own)
            for step, s in (("embed", 6.0), ("pseudo_labels", 3.0), ("table", 2.0))
        ]
    costs = rows(run(tmp_path, made) / "costs_by_cycle.csv")
    assert list(costs) == list(registry.strategies())
    # Those of cycle 0 are shared and take 4 s, its own of cycle 1 take 5 s; the choices take 3 s and 4 s.
    assert float(costs["core_set"]["selection_s"]) == pytest.approx((4 + 3 + 5 + 4) / 2)
    assert float(costs["entropy_sum"]["selection_s"]) == pytest.approx(3.5)
    assert float(costs["mgral"]["selection_s"]) == pytest.approx(3.5)
    assert float(costs["mgral"]["lut_s"]) == pytest.approx(((4 + 2 * (6 * 8 + 3 * 2)) + (6 + 3 + 2)) / 2)


def test_no_strategy_is_read_out_of_a_files_name(tmp_path: Path) -> None:
    names = ("run-2", "run-22", "2", "full", "initial_cycle1", "seed0")
    values = {"strategies": {name: {"type": "random"} for name in names}, "cycles": 1, "seeds": [0]}
    (tmp_path / "config.yaml").write_text(json.dumps(values))
    made = [
        record_cost(
            tmp_path / f"seed7_{seconds}_cycle3.json",
            "select",
            float(seconds),
            names={"seed": "0", "strategy": name, "cycle": "0"},
        )
        for seconds, name in enumerate(names, start=1)
    ]
    costs = rows(run(tmp_path, made) / "costs_by_cycle.csv")
    assert {name: float(row["selection_s"]) for name, row in costs.items()} == {
        name: float(seconds) for seconds, name in enumerate(names, start=1)
    }


def test_jobs_of_another_target_are_kept_until_their_records_are_gone(tmp_path: Path) -> None:
    fabricate(tmp_path)
    made = fabricate_costs(tmp_path)
    run(tmp_path, made)
    gain = record_cost(tmp_path / "fidelity" / "gain.json", "gain", 7.0)
    assert {"gain", "select"} <= set(rows(run(tmp_path, [gain]) / "costs_by_step.csv"))
    shutil.rmtree(tmp_path / "provenance" / "fidelity")
    assert "gain" not in rows(run(tmp_path, made) / "costs_by_step.csv")


def test_the_costs_of_a_run_are_without_those_of_seeds_that_ran_before(tmp_path: Path) -> None:
    fabricate(tmp_path)
    made = fabricate_costs(tmp_path)
    run(tmp_path, made)
    before = (tmp_path / "timings" / "costs_by_step.csv").read_bytes()
    detector = tmp_path / "seed9" / "initial" / "cycle0" / "detector.safetensors"
    run(tmp_path, [record_cost(detector, "detector", 7.0, names={"seed": "9", "round": "initial", "cycle": "0"})])
    assert str(detector) in rows(tmp_path / "timings" / "jobs.csv")
    assert (tmp_path / "timings" / "costs_by_step.csv").read_bytes() == before


def test_costs_of_steps_by_hand(timings: Path) -> None:
    costs = rows(timings / "costs_by_step.csv")
    assert list(costs) == [
        "cache", "detector", "embed", "subsets", "base", "variant", "table", "agent", "select", "report"
    ]  # fmt: skip
    detector = [float(costs["detector"][name]) for name in ("jobs", "wall_s", "core_s", "peak_memory_mb")]
    assert detector == [14, 2 * 30 + 12 * 40, 2 * 29 + 12 * 39, 901]
    assert float(costs["report"]["wall_s"]) == 99


def test_page_stands_alone_and_holds_the_numbers(timings: Path) -> None:
    text = (timings / "timings.html").read_text()
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)"', text) == ["../report.html"]
    assert not re.search(r"@import|url\(", text)
    page = ElementTree.fromstring(text)
    lines = [
        ["".join(cell.itertext()).strip() for cell in line] for line in page.iter("{http://www.w3.org/1999/xhtml}tr")
    ]
    assert ["mgral", "1.9 min", "45.0 s", "3.5 s"] in lines
    assert ["random", "–", "36.7 s", "3.5 s"] in lines
    assert ["the paper", "9 h, amortised", "7 h 8 min", "0.5 min"] in lines
    assert ["detector", "14", "9.0 min", "38.6 s", "8.8 min", "901 MB"] in lines
    assert ["embed", "2", "8.0 s", "4.0 s", "0.0 s", "0 MB"] in lines


def test_of_no_measurements_nothing_is_written(tmp_path: Path) -> None:
    fabricate(tmp_path)
    with pytest.raises(InputError, match=r"has no records of jobs; run snakemake first"):
        run(tmp_path, [("select", {}, [str(tmp_path / "selection.json")])])
    assert not (tmp_path / "timings").exists()


def test_start_is_cheap() -> None:
    """The Snakefile imports it for every plan that is made."""
    heavy = "{'torch', 'matplotlib', 'scipy', 'sklearn', 'pandas'}"
    check = f"import sys, mgral.cli.main, mgral.report.timings; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], text=True, capture_output=True, check=True)
    assert done.stdout == "set()\n"


def test_text_of_durations() -> None:
    assert [duration(s) for s in (None, 4.25, 600.0, 25680.0)] == ["–", "4.2 s", "10.0 min", "7 h 8 min"]
