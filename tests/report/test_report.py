import csv
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner
from fabricated_results import CLASSES, fabricate, fabricate_costs

from mgral.artefacts.files import write_json, write_reason
from mgral.cli.steps.report import command
from mgral.config import RewardConfig, load_config, registry
from mgral.errors import InputError
from mgral.method.lut.agreement import predict_each_other
from mgral.report.drawing import draw
from mgral.report.facts import reward_in_words
from mgral.report.styles import class_colours


def run(folder: Path, output: Path | None = None, *options: str | Path) -> Path:
    output = output or folder / "report.html"
    arguments = ["--config", folder / "config.yaml", "--results", folder, "--output", output, *options]
    CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    return output


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def metric(folder: Path, seed: int, strategy: str, cycle: int, name: str) -> float:
    place = f"strategies/{strategy}/cycle{cycle}" if cycle else "initial/cycle0"
    return float(json.loads((folder / f"seed{seed}" / place / "metrics.json").read_text())[name])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    fabricate(folder)
    run(folder)
    return folder


def all_written(folder: Path) -> dict[str, bytes]:
    paths = [folder / "report.html", *folder.glob("figures/*"), *folder.glob("tables/**/*.csv")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class _CodedIn:
    """Where each number of the curves comes from, recomputed from the files alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        coco = json.loads((folder / "dataset" / "train.json").read_text())
        self.boxes = [annotation["image_id"] for annotation in coco["annotations"]]

    def labelled_boxes(self, seed: int, strategy: str, cycle: int) -> int:
        place = f"strategies/{strategy}/cycle{cycle}" if cycle else "initial/cycle0"
        images = json.loads((self.folder / f"seed{seed}" / place / "labelled.json").read_text())["images"]
        # One without a box counts as one.
        return sum(max(1, self.boxes.count(image)) for image in images)


@pytest.mark.parametrize("score", ["map", "ap50"])
def test_tables_hold_the_metrics_and_their_means(folder: Path, score: str) -> None:
    table, means = rows(folder / "tables" / "detectors.csv"), rows(folder / "tables" / "curves.csv")
    truth = _CodedIn(folder)
    for strategy in ("mgral", "random", "entropy_anchors"):
        for cycle in range(3):
            of_point = {r["seed"]: r for r in table if (r["strategy"], r["cycle"]) == (strategy, str(cycle))}
            values = [metric(folder, seed, strategy, cycle, score) for seed in (0, 1)]
            assert [float(of_point[seed][score]) for seed in "01"] == values
            boxes = [truth.labelled_boxes(seed, strategy, cycle) for seed in (0, 1)]
            assert [int(of_point[s]["boxes"]) for s in "01"] == boxes
            (mean,) = [r for r in means if (r["strategy"], r["cycle"]) == (strategy, str(cycle))]
            assert float(mean[score]) == pytest.approx(sum(values) / 2)
            assert float(mean["boxes"]) == sum(boxes) / 2


def test_seeds_are_numbers_in_every_table(folder: Path) -> None:
    tables = {path.stem: rows(path) for path in (folder / "tables").rglob("*.csv")}
    with_seeds = {name for name, of in tables.items() if "seed" in of[0]}
    assert {row["seed"] for name in with_seeds for row in tables[name]} == {"0", "1"}
    assert {"detectors", "ranking_by_seed", "labels_needed_in_images", "class_balance", "agreement"} <= with_seeds


def test_images_of_the_curve_grow_by_the_budget(folder: Path) -> None:
    table = rows(folder / "tables" / "detectors.csv")
    images = [row["images"] for row in table if row["strategy"] == "entropy_anchors" and row["seed"] == "1"]
    assert images == ["6", "10", "14"]


def test_summary_by_hand(folder: Path) -> None:
    summary = {row["strategy"]: row for row in rows(folder / "tables" / "summary.csv")}
    curve = {s: [[metric(folder, r, s, t, "map") for t in range(3)] for r in (0, 1)] for s in ("mgral", "random")}
    assert float(summary["mgral"]["final_map"]) == pytest.approx(sum(y[2] for y in curve["mgral"]) / 2)
    differences = [a[2] - b[2] for a, b in zip(curve["mgral"], curve["random"], strict=True)]
    assert float(summary["mgral"]["final_difference"]) == pytest.approx(sum(differences) / 2)
    assert float(summary["mgral"]["final_difference_std"]) == pytest.approx(
        abs(differences[0] - differences[1]) / 2**0.5
    )
    assert summary["random"]["final_difference"] == ""


def test_shares_of_classes_by_hand(folder: Path) -> None:
    coco = json.loads((folder / "dataset" / "train.json").read_text())
    chosen = json.loads((folder / "seed1/strategies/entropy_anchors/cycle1/selection.json").read_text())["images"]
    labelled = json.loads((folder / "seed1/strategies/entropy_anchors/cycle1/labelled.json").read_text())["images"]
    inside = [a["category_id"] for a in coco["annotations"] if a["image_id"] in chosen]
    pool = [a["category_id"] for a in coco["annotations"] if a["image_id"] not in labelled]
    written = {
        row["class"]: row
        for row in rows(folder / "tables" / "class_balance.csv")
        if (row["strategy"], row["cycle"], row["seed"]) == ("entropy_anchors", "1", "1")
    }
    for label, name in enumerate(CLASSES):
        assert float(written[name]["chosen_share"]) == pytest.approx(inside.count(label + 3) / len(inside))
        assert float(written[name]["pool_share"]) == pytest.approx(pool.count(label + 3) / len(pool))
    boxes = rows(folder / "tables" / "boxes_an_image.csv")
    found = [r for r in boxes if (r["strategy"], r["cycle"], r["seed"]) == ("entropy_anchors", "1", "1")]
    assert float(found[0]["chosen_boxes"]) == len(inside) / len(chosen)


def test_page_stands_alone_and_holds_every_figure(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    page = ElementTree.fromstring(text)
    assert re.findall(r'(?:src|href)="(?!#|data:image/)([^"]*)"', text) == []
    assert not re.search(r"@import|url\((?!#)", text)
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    drawn = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert drawn <= set(ids)
    assert len(drawn) == 1 + 4 + 4 + 2 + 3 + 3 + 3 + 3
    assert {path.stem for path in (folder / "figures").glob("*.png")} == drawn
    assert set(re.findall(r">tables/(\w+)\.csv", text)) <= {path.stem for path in (folder / "tables").glob("*.csv")}
    for path in (folder / "figures").glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_references_inside_drawings_lead_somewhere(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    ids = set(re.findall(r'\bid="([^"]+)"', text))
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert references <= ids
    assert len(references) > 100


def test_a_distance_is_named_only_where_one_is_computed() -> None:
    assert "Wasserstein" not in reward_in_words(RewardConfig())
    by_kernel = RewardConfig(estimator="kernel")
    assert reward_in_words(by_kernel) == "Wasserstein distance of each class's object counts; kernel estimate"


def test_names_are_escaped(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert "&lt;b&gt;&amp;" in text
    assert "<b>&" not in text
    assert "blood &lt;cells&gt;" in text


def test_same_input_same_bytes(folder: Path, tmp_path: Path) -> None:
    before = all_written(folder)
    fabricate(tmp_path)
    run(tmp_path)
    assert all_written(tmp_path) == before


def test_same_bytes_whatever_was_measured(folder: Path, tmp_path: Path) -> None:
    before = all_written(folder)
    fabricate(tmp_path)
    fabricate_costs(tmp_path)
    run(tmp_path)
    assert all_written(tmp_path) == before
    assert not [name for name in before if "costs_by" in name]


def test_boxes_of_picks_are_scaled_to_the_cache(folder: Path) -> None:
    page = ElementTree.fromstring((folder / "report.html").read_text())
    coco = json.loads((folder / "dataset" / "train.json").read_text())
    first = next(
        s
        for s in json.loads((folder / "seed0/strategies/mgral/cycle0/selection.json").read_text())["images"]
        if any(a["image_id"] == s for a in coco["annotations"])
    )
    expected = [[side / 2 for side in a["bbox"]] for a in coco["annotations"] if a["image_id"] == first]
    svg = "{http://www.w3.org/2000/svg}"
    drawings = [e for e in page.iter(f"{svg}svg") if str(e.get("aria-label")).startswith(f"{first - 100:04}.jpg: ")]
    boxes = [e for e in drawings[0].iter(f"{svg}rect") if e.get("class") == "box"]
    assert [[float(box.get(k, "nan")) for k in ("x", "y", "width", "height")] for box in boxes] == expected


@pytest.mark.parametrize(
    "name",
    [
        "dataset/train.json",
        "dataset/train.npy",
        "seed1/initial/cycle0/metrics.json",
        "seed1/strategies/random/cycle2/metrics.json",
        "seed0/strategies/entropy_anchors/cycle1/selection.json",
        "seed0/strategies/mgral/cycle1/labelled.json",
        "seed0/strategies/mgral/cycle1/agent.csv",
        "seed1/strategies/mgral/cycle1/agent.json",
        "seed1/initial/cycle0/tables/default/split1/default/leave_one_out.csv",
        "seed1/initial/cycle0/tables/default/split1/default/table.safetensors",
        "seed1/full/cycle0/metrics.json",
    ],
)
def test_missing_artefact_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    fabricate(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=re.escape(name)):
        run(tmp_path)
    assert not any((tmp_path / written).exists() for written in ("report.html", "figures", "tables"))


@pytest.mark.parametrize("damage", ["reward,best", "episode,reward,best,random_reward,random_best\n0,0.1,0.2,,0.1\n"])
def test_a_damaged_csv_is_named(tmp_path: Path, damage: str) -> None:
    fabricate(tmp_path, seeds=(0,), strategies=("mgral", "random"))
    (tmp_path / "seed0/strategies/mgral/cycle1/agent.csv").write_text(damage)
    with pytest.raises(InputError, match=r"mgral/cycle1/agent.csv is damaged"):
        run(tmp_path)


def test_incomplete_metrics_are_named(tmp_path: Path) -> None:
    fabricate(tmp_path)
    (tmp_path / "seed0/strategies/random/cycle1/metrics.json").write_text('{"map": 0.5}')
    with pytest.raises(InputError, match=r"random/cycle1/metrics.json lacks ap50"):
        run(tmp_path)


def test_selection_without_its_forward_passes_is_named(tmp_path: Path) -> None:
    fabricate(tmp_path)
    path = tmp_path / "seed0/strategies/random/cycle1/selection.json"
    selection = json.loads(path.read_text())
    del selection["forward_passes"]
    path.write_text(json.dumps(selection))
    with pytest.raises(InputError, match=r"random/cycle1/selection.json lacks forward_passes"):
        run(tmp_path)


def test_of_many_strategies_only_two_have_their_seeds_drawn(tmp_path: Path) -> None:
    fabricate(tmp_path, strategies=tuple(registry.strategies()))
    text = run(tmp_path).read_text()
    ElementTree.fromstring(text)
    assert "bands and single seeds are drawn for mgral_greedy and random only" in text


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    fabricate(tmp_path, seeds=(3,))
    text = run(tmp_path).read_text()
    assert "There is one seed and so no spread" in text
    assert "1 seed: too few for an interval" in text
    assert "Bands" not in text
    assert {row["final_map_std"] for row in rows(tmp_path / "tables" / "summary.csv")} == {""}


def test_without_mgral(tmp_path: Path) -> None:
    fabricate(tmp_path, strategies=("random", "entropy_anchors"))
    text = run(tmp_path).read_text()
    ElementTree.fromstring(text)
    assert 'id="agent"' not in text
    assert 'id="lut"' not in text


def test_tables_without_an_agent_have_their_section_alone(tmp_path: Path) -> None:
    fabricate(tmp_path, strategies=("mgral_greedy", "random"))
    text = run(tmp_path).read_text()
    ElementTree.fromstring(text)
    assert 'id="lut"' in text
    assert not re.search(r'id="agent"|href="#agent"|<dt>Agent', text)


def test_without_random_there_is_no_difference(tmp_path: Path) -> None:
    fabricate(tmp_path, strategies=("mgral",))
    text = run(tmp_path).read_text()
    assert "to random" not in text
    assert rows(tmp_path / "tables" / "summary.csv")[0]["final_difference"] == ""


def test_many_classes(tmp_path: Path) -> None:
    fabricate(tmp_path, seeds=(0,), strategies=("random",), cycles=1, classes=[f"kind {n}" for n in range(31)])
    page = ElementTree.fromstring(run(tmp_path).read_text())
    legend = next(element for element in page.iter() if element.get("class") == "legend")
    assert len(list(legend)) == 31
    assert len(set(class_colours(31))) == 31


def test_one_split_has_no_other_to_agree_with(tmp_path: Path) -> None:
    fabricate(tmp_path, splits=1)
    run(tmp_path)
    for estimator in ("nearest", "kernel", "regression"):
        assert (tmp_path / "figures" / f"leave_one_out_{estimator}.svg").exists()
        assert not (tmp_path / "figures" / f"agreement_{estimator}.svg").exists()
    assert "other reward splits" not in (tmp_path / "report.html").read_text()


def test_every_estimator_is_compared_with_the_other_splits(folder: Path) -> None:
    agreement = rows(folder / "tables" / "agreement.csv")
    drawn = {e: [row for row in agreement if row["estimator"] == e] for e in ("nearest", "kernel", "regression")}
    config = load_config(folder / "config.yaml")
    shared = folder / "seed0" / "initial" / "cycle0" / "tables" / "default"
    tables = [shared / f"split{n}" / "default" / "table.safetensors" for n in (0, 1)]
    for estimator, of_variants in drawn.items():
        reward = config.reward.model_copy(update={"estimator": estimator})
        first, _ = predict_each_other(tables, reward)
        found = [float(row["predicted"]) for row in of_variants if (row["seed"], row["split"]) == ("0", "0")]
        assert found == pytest.approx(first.predicted.tolist())
    text = (folder / "report.html").read_text()
    assert "Predicted by the other reward splits: the regression (used for the rewards)" in text
    assert "the kernel (used" not in text


def test_drawing_takes_any_label() -> None:
    drawing = draw("any", 2, 2, lambda axes: axes.set_xlabel("$x_ <b>& --"))
    assert ElementTree.fromstring(drawing.svg.split("?>", 1)[1]).get("width") is None
    # 2 inches at 192 pixels, in the header of the file.
    assert drawing.png[16:24] == (384).to_bytes(4) * 2


def test_scores_by_vocs_rules_are_shown_where_there_are_some(folder: Path, tmp_path: Path) -> None:
    assert "VOC" not in (folder / "report.html").read_text()
    assert not (folder / "tables" / "scores_by_class_voc.csv").exists()
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("seed*/**/metrics.json"):
        metrics = json.loads(path.read_text())
        for entry in (metrics, *metrics["per_class"]):
            entry |= {"ap50_11point": entry["ap50"] and 0.9 * entry["ap50"], "ap50_area": entry["ap50"]}
        path.write_text(json.dumps(metrics))
    run(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "AP50, VOC’s 11 points of each class" in page
    assert "AP50, VOC’s area" in page
    overall = {(row["name"], row["strategy"]): row for row in rows(tmp_path / "tables" / "scores_overall.csv")}
    expected = 0.9 * float(overall["AP50", "random"]["mean"])
    assert float(overall["AP50, VOC’s 11 points", "random"]["mean"]) == pytest.approx(expected)
    by_class = rows(tmp_path / "tables" / "scores_by_class_voc.csv")
    assert [row["mean"] for row in by_class if row["strategy"] == "random"][:1] == ["0.45"]
    curves = rows(tmp_path / "tables" / "curves.csv")
    assert [float(row["ap50_11point"]) for row in curves] == [
        pytest.approx(0.9 * float(row["ap50"])) for row in curves
    ]


def test_rounds_chosen_at_random_are_named_with_their_reason(tmp_path: Path) -> None:
    fabricate(tmp_path)
    for seed, cycle in ((0, 1), (1, 1)):
        path = tmp_path / f"seed{seed}" / "strategies" / "mgral" / f"cycle{cycle}" / "selection.json"
        write_json(path, {**json.loads(path.read_text()), "reason": "nothing <was> found"})
    run(tmp_path)
    assert rows(tmp_path / "tables" / "random_rounds.csv") == [
        {"strategy": "mgral", "cycle": "1", "seed": seed, "reason": "nothing <was> found"} for seed in ("0", "1")
    ]
    page = (tmp_path / "report.html").read_text()
    assert '<td>1 (seed 0, 1)</td><td class="own">nothing &lt;was&gt; found</td>' in page


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_tables_and_agents_that_could_not_be_made_are_left_out(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    """Of one seed in two, so that the other is shown; and of the only seed."""
    fabricate(tmp_path, seeds=seeds)
    for agent in (tmp_path / "seed0").glob("strategies/mgral/cycle*/agent.json"):
        write_json(agent, {"reason": "nothing was found"})
        agent.with_suffix(".csv").write_text("episode,reward,best,random_reward,random_best\n")
    for table in (tmp_path / "seed0").glob("initial/cycle0/tables/default/split*/default/table.safetensors"):
        write_reason(table, "nothing was found")
        table.with_name("leave_one_out.csv").write_text("variant,baseline,measured,nearest,kernel,regression\n")
    page = run(tmp_path).read_text()
    assert f"2 of {2 * len(seeds)} tables could not be made" in page
    assert f'<td class="number">{len(seeds) - 1} of {len(seeds)} seeds</td></tr>' in page
    assert (tmp_path / "figures" / "variants.svg").exists() == (len(seeds) == 2)
    assert (tmp_path / "tables" / "agents.csv").exists() == (len(seeds) == 2)


def test_the_whole_report_removes_the_partial_one_and_what_is_no_longer_drawn(tmp_path: Path) -> None:
    fabricate(tmp_path)
    run(tmp_path, tmp_path / "partial" / "report.html", "--partial")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "balance_of_old.svg").write_text("of a strategy that was taken out")
    run(tmp_path)
    assert not (tmp_path / "partial").exists()
    assert not (tmp_path / "figures" / "balance_of_old.svg").exists()
    assert (tmp_path / "tables" / "curves" / "mgral.csv").exists()
