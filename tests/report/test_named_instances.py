"""The report of an experiment whose strategies are named instances with settings of their own."""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fabricated_results import fabricate

from mgral.cli.steps.report import command
from mgral.config import AgentConfig

INSTANCES = {
    "mgral": {},
    "nearest2": {"type": "mgral", "agent": {"policy": "lstm"}, "reward": {"estimator": "nearest"}},
    "warm-8": {"type": "mgral", "lut": {"start": "warm", "refresh": "every_cycle", "splits": 1}},
    "1-a_b": {"type": "random"},
    "margin_7": {"type": "margin"},
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def report(folder: Path) -> str:
    paths = ["--config", folder / "config.yaml", "--results", folder, "--output", folder / "report.html"]
    CliRunner().invoke(command, [str(path) for path in paths], catch_exceptions=False)
    return (folder / "report.html").read_text()


def text_of(page: str) -> str:
    return " ".join("".join(ElementTree.fromstring(page).itertext()).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    fabricate(folder, seeds=(0, 1, 2), strategies=INSTANCES, episodes=4)
    report(folder)
    return folder


def test_tables_of_equal_settings_are_shown_once_with_all_who_use_them(folder: Path) -> None:
    text = text_of((folder / "report.html").read_text())
    headings = re.findall(r"Lookup table (\w+): ([\w, -]+?) 5 variants; labels: labels; start: (\w+)", text)
    assert [(users, start) for _, users, start in headings] == [("mgral, nearest2", "cold"), ("warm-8", "warm")]
    default, warm = (name for name, *_ in headings)
    assert default == "default"
    variants = rows(folder / "tables" / "variants.csv")
    places = {(row["table"], row["round"], row["cycle"], row["split"]) for row in variants if row["seed"] == "1"}
    assert places == {
        ("default", "initial", "0", "0"),
        ("default", "initial", "0", "1"),
        (warm, "initial", "0", "0"),
        (warm, "strategies/warm-8", "1", "0"),
    }
    measured = rows(folder / f"seed1/strategies/warm-8/cycle1/tables/{warm}/split0/default/leave_one_out.csv")
    shown = [
        float(row["map"])
        for row in variants
        if (row["seed"], row["round"], row["variant"]) == ("1", "strategies/warm-8", "2")
    ]
    assert shown == [float(measured[1]["measured"])]


def test_estimators_in_use_are_drawn_and_all_are_written(folder: Path) -> None:
    text = text_of((folder / "report.html").read_text())
    assert "Left out: the regression (used by mgral)" in text
    assert "Left out: the nearest variant (used by nearest2)" in text
    assert "Left out: the regression (used for the rewards)" in text
    assert "Left out: the kernel" not in text
    written = {row["estimator"] for row in rows(folder / "tables" / "leave_one_out.csv")}
    assert written == {"nearest", "kernel", "regression"}
    # Of a single split there is no other to be compared with.
    assert {row["table"] for row in rows(folder / "tables" / "agreement.csv")} == {"default"}


def test_every_agent_has_its_figures_and_lines(folder: Path) -> None:
    drawn = sorted(path.stem for path in (folder / "figures").glob("agent_*.svg"))
    assert drawn == sorted(
        f"agent_{name}_cycle{cycle}" for name in ("mgral", "nearest2", "warm-8") for cycle in (0, 1)
    )
    agents = {(r["strategy"], r["seed"], r["cycle"]): r for r in rows(folder / "tables" / "agents.csv")}
    assert len(agents) == 3 * 3 * 2
    summary = json.loads((folder / "seed2/strategies/warm-8/cycle1/agent.json").read_text())
    assert float(agents["warm-8", "2", "1"]["selected_reward"]) == summary["selected_reward"]
    named = re.findall(r"at most (\d+) images", text_of((folder / "report.html").read_text()))
    # In the captions of the two agents that choose image by image, and nowhere else.
    assert named == [str(AgentConfig().horizon)] * 4


def test_a_table_costs_once_whoever_uses_it(folder: Path) -> None:
    strategies = {row["strategy"]: row["table"] for row in rows(folder / "tables" / "cost.csv")}
    costs = {row["table"]: row for row in rows(folder / "tables" / "cost_of_tables.csv")}
    assert strategies["mgral"] == strategies["nearest2"] == "default"
    warm = strategies["warm-8"]
    assert set(costs) == {"default", warm}
    assert strategies["margin_7"] == strategies["1-a_b"] == ""
    # Two splits at cycle 0; or one split in each of two cycles. Rewards are measured on 2 of 6 labelled images and on
    # 4 of 10.
    assert [int(costs[name]["tables"]) for name in ("default", warm)] == [2, 2]
    assert int(costs["default"]["images_seen"]) == 40 + 2 * 6 * 2
    assert int(costs[warm]["images_seen"]) == (40 + 6 * 2) + (40 + 6 * 4)


def test_curves_are_long_and_a_file_a_strategy_holds_its_lines(folder: Path) -> None:
    curves = rows(folder / "tables" / "curves.csv")
    assert [(row["strategy"], row["cycle"]) for row in curves] == [
        (name, str(cycle)) for name in INSTANCES for cycle in range(3)
    ]
    found = [
        json.loads((folder / f"seed{seed}/strategies/1-a_b/cycle2/metrics.json").read_text())["map"]
        for seed in (0, 1, 2)
    ]
    last = next(row for row in curves if (row["strategy"], row["cycle"]) == ("1-a_b", "2"))
    assert float(last["map"]) == pytest.approx(np.mean(found))
    assert (last["seeds"], last["images"]) == ("3", "14.0")
    own = rows(folder / "tables" / "curves" / "1-a_b.csv")
    assert own == [
        {name: cell for name, cell in row.items() if name not in ("strategy", "cycle")}
        for row in curves
        if row["strategy"] == "1-a_b"
    ]


def test_random_is_the_first_of_its_type_whatever_its_name(folder: Path) -> None:
    text = text_of((folder / "report.html").read_text())
    assert "1-a_b beats" in text
    assert "Differences to 1-a_b are paired by seed" in text
    summary = {row["strategy"]: row["final_difference"] for row in rows(folder / "tables" / "summary.csv")}
    assert [name for name, difference in summary.items() if not difference] == ["1-a_b"]


def test_own_settings_are_listed(folder: Path) -> None:
    page = ElementTree.fromstring((folder / "report.html").read_text())
    lines = [
        ["".join(cell.itertext()).strip() for cell in line] for line in page.iter("{http://www.w3.org/1999/xhtml}tr")
    ]
    assert ["warm-8", "mgral", "lut.splits: 1, lut.start: warm, lut.refresh: every_cycle"] in lines
    assert ["1-a_b", "random", "–"] in lines


def test_ids_of_the_page_are_unique(folder: Path) -> None:
    page = ElementTree.fromstring((folder / "report.html").read_text())
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_eleven_instances_have_a_figure_each(tmp_path: Path) -> None:
    names = [f"m{n}" for n in range(11)]
    own = [{"type": "mgral", "lut": {"variants": 5 + n % 3}} for n in range(11)]
    fabricate(tmp_path, seeds=(0,), strategies=dict(zip(names, own, strict=True)), episodes=4)
    text = text_of(report(tmp_path))
    assert len(list((tmp_path / "figures").glob("agent_*.svg"))) == 11
    assert len(re.findall(r"Lookup table \w+: ", text)) == 3
    # By the estimator in use: the tables of the other splits, the table itself, and its variants.
    for name in ("agreement", "leave_one_out", "variants"):
        assert len(list((tmp_path / "figures").glob(f"{name}*.svg"))) == 3


def test_a_pool_of_images_with_boxes_is_named_as_knowledge_of_an_oracle(folder: Path, tmp_path: Path) -> None:
    assert "knowledge of an oracle" not in text_of((folder / "report.html").read_text())
    fabricate(tmp_path, seeds=(0,), strategies=("random",), data={"pool": "with_boxes"})
    text = text_of(report(tmp_path))
    assert "only images with a box: knowledge of an oracle" in text
    assert "The pool contains only images with at least one box (data.pool: with_boxes)" in text
