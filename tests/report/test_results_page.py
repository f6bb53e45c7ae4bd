"""Pages of finished experiments for docs/results: every number is that of the experiment's own tables."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fabricated_results import COMMAND, fabricate, finish

from mgral.artefacts.files import read_csv, write_bytes, write_json
from mgral.cli.steps import report
from mgral.cli.tools import results
from mgral.config import config_yaml, load_config
from mgral.errors import InputError, StepError


def run(output: Path, *words: Path | str) -> Result:
    return CliRunner().invoke(results.command, [*map(str, words), "--output", str(output)], catch_exceptions=False)


def part(whole: Path, folder: Path, **settings: Any) -> Path:
    """Copy a finished experiment with other settings, and report it."""
    shutil.copytree(whole, folder)
    config = load_config(folder / "config.yaml").model_copy(update=settings)
    write_bytes(folder / "config.yaml", config_yaml(config))
    paths = ["--config", folder / "config.yaml", "--results", folder, "--output", folder / "report.html"]
    CliRunner().invoke(report.command, [str(path) for path in paths], catch_exceptions=False)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(tmp_path_factory.mktemp("results"))


def test_a_page_says_what_was_run_and_where(finished: Path, tmp_path: Path) -> None:
    assert run(tmp_path, finished).exit_code == 0
    page = (tmp_path / "fabricated.md").read_text()
    assert f"\n    {COMMAND}\n" in page
    for cell in ("`0123456789ab-dirty`", "Linux x86_64, AVX2, GPU not used, Python 3.11.7, torch 2.0", "0, 1, 2"):
        assert cell in page
    assert str(finished) not in page


def test_scores_on_a_page_are_those_of_the_tables(finished: Path, tmp_path: Path) -> None:
    run(tmp_path, finished)
    page = (tmp_path / "fabricated.md").read_text()
    with (finished / "tables" / "curves" / "bright-1.csv").open() as file:
        expected = [float(row["map"]) for row in csv.DictReader(file)]
    line, place, labels = re.findall(r"^\| bright-1 \| (.*) \|$", page, flags=re.MULTILINE)
    shown = [float(cell.split(" ± ")[0]) / 100 for cell in line.split(" | ")]
    assert shown == pytest.approx(expected, abs=0.0006)
    assert len(shown) == 3
    with (finished / "tables" / "ranking.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["score"], row["strategy"]) == ("map", "bright-1")]
    places = place.split(" | ")
    assert [(row["labels"], row["rank"]) for row in rows] == [("images", places[0]), ("boxes", places[5])]
    assert [float(places[n]) / 100 for n in (1, 6)] == pytest.approx([float(r["mean"]) for r in rows], abs=0.0006)
    outer = [(min(r["to_random_low"], r["to_random_t_low"], key=float), r["to_random_t_high"]) for r in rows]
    shown = [tuple(float(end.replace("−", "-")) / 100 for end in places[n].split(" to ")) for n in (3, 8)]
    assert shown == [pytest.approx(list(map(float, ends)), abs=0.0006) for ends in outer]
    assert all(float(row["to_random_t_high"]) > float(row["to_random_high"]) for row in rows)
    rows = []
    for cost in ("images", "boxes"):
        with (finished / "tables" / f"labels_saved_in_{cost}.csv").open() as file:
            key = ("random", "map", "bright-1")
            rows += [row for row in csv.DictReader(file) if (row["target"], row["score"], row["strategy"]) == key]
    found = labels.split(" | ")
    assert [f"{float(row['needed']):,.0f}" for row in rows] == [found[0], found[4]]
    assert [f"{float(row['saved']):+,.0f}".replace("-", "−") for row in rows] == [found[1], found[5]]


def test_every_figure_of_a_page_is_beside_it_and_the_list_names_all_pages(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "earlier.md").write_text("# earlier\n")
    run(tmp_path, finished)
    figures = re.findall(r"!\[.*?\]\((.*?)\)", (tmp_path / "fabricated.md").read_text())
    assert figures
    assert all((tmp_path / figure).exists() for figure in figures)
    assert re.findall(r"\]\((.*?)\)", (tmp_path / "README.md").read_text()) == ["earlier.md", "fabricated.md"]


def test_an_experiment_without_a_report_is_refused_before_anything_is_written(finished: Path, tmp_path: Path) -> None:
    fabricate(tmp_path / "unfinished")
    with pytest.raises(InputError, match="unfinished contains no finished experiment run by Snakemake"):
        run(tmp_path / "pages", finished, tmp_path / "unfinished")
    assert not (tmp_path / "pages").exists()
    (part(finished, tmp_path / "cleared", seeds=(1,)) / "tables" / "detectors.csv").unlink()
    with pytest.raises(InputError, match="cleared contains no finished experiment run by Snakemake"):
        run(tmp_path / "pages", tmp_path / "cleared")


def test_a_report_that_lacks_a_seed_of_its_configuration_is_refused(finished: Path, tmp_path: Path) -> None:
    """A run with another seed was stopped: its configuration is there, and the report is the earlier one."""
    folder = tmp_path / "begun"
    shutil.copytree(finished, folder)
    config = load_config(folder / "config.yaml").model_copy(update={"seeds": (0, 1, 2, 3)})
    write_bytes(folder / "config.yaml", config_yaml(config))
    with pytest.raises(InputError, match=r"lacks seed 3 of its config\.yaml.*; finish that run"):
        run(tmp_path / "pages", folder)
    assert not (tmp_path / "pages").exists()


def test_a_page_is_replaced_only_when_all_beside_it_is_written(finished: Path, tmp_path: Path) -> None:
    assert run(tmp_path, finished).exit_code == 0
    kept = tmp_path / "fabricated" / "runs.json"
    kept.unlink()
    kept.mkdir()
    for name in ("fabricated.md", "README.md"):
        (tmp_path / name).write_text("before")
    with pytest.raises(StepError, match=r"fabricated/runs\.json cannot be written"):
        run(tmp_path, finished)
    assert {(tmp_path / name).read_text() for name in ("fabricated.md", "README.md")} == {"before"}
    assert not list(tmp_path.rglob("*.partial"))


def test_commits_are_counted_over_all_artefacts(finished: Path, tmp_path: Path) -> None:
    record = json.loads((finished / "provenance" / "report.html.json").read_bytes())
    write_json(finished / "provenance" / "other.json", {**record, "commit": "fedcba9876543210"})
    write_json(
        finished / "provenance" / "seed9" / "other.json", {**record, "commit": "9999999999999999"}
    )  # ran before
    run(tmp_path, finished)
    page = (tmp_path / "fabricated.md").read_text()
    assert "`fedcba987654` (1)" in page
    assert "999999999999" not in page


def test_seeds_that_are_added_make_the_page_of_all_of_them(finished: Path, tmp_path: Path) -> None:
    run(tmp_path / "at once", finished)
    one, other = (part(finished, tmp_path / name, seeds=seeds) for name, seeds in (("a", (2, 0)), ("b", (1,))))
    run(tmp_path / "joined", one)
    run(tmp_path / "joined", other, "--add")
    pages = [(tmp_path / name / "fabricated.md").read_text() for name in ("at once", "joined")]
    curves, shown = (page[page.index("## Curves") : page.index("## Cost")] for page in pages)
    assert shown == curves
    assert "| Seeds | 0, 1, 2 |" in pages[1]
    for file in ("detectors.csv", "map_by_boxes.svg", "to_random_map_by_images.svg"):
        at_once, joined = ((tmp_path / name / "fabricated" / file).read_bytes() for name in ("at once", "joined"))
        assert joined == at_once


def test_the_cost_of_a_page_is_that_of_all_its_runs(finished: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        run(tmp_path, part(finished, tmp_path / str(seed), seeds=(seed,)), "--add")
    jobs = sum(int(row["jobs"]) for row in read_csv(finished / "timings" / "costs_by_step.csv"))
    assert f"{2 * jobs} jobs, " in (tmp_path / "fabricated.md").read_text()


def test_seeds_of_other_settings_or_of_the_page_itself_are_not_added(finished: Path, tmp_path: Path) -> None:
    run(tmp_path, finished)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="seeds 0, 1, 2 are on its page already"):
        run(tmp_path, finished, "--add")
    other = part(finished, tmp_path.parent / "other", seeds=(1,), initial=7)
    with pytest.raises(InputError, match=r"of other settings \(initial\)"):
        run(tmp_path, other, "--add")
    (other / "dataset" / "train.json").write_bytes((other / "dataset" / "test.json").read_bytes() + b" ")
    with pytest.raises(InputError, match=r"of other settings \(initial, data\)"):
        run(tmp_path, other, "--add")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_two_folders_of_one_experiment_are_not_written_over_each_other(finished: Path, tmp_path: Path) -> None:
    folders = [part(finished, tmp_path / str(seed), seeds=(seed,)) for seed in (0, 1)]
    with pytest.raises(InputError, match="another folder is of fabricated, too"):
        run(tmp_path / "pages", *folders, "--add")
    assert not (tmp_path / "pages").exists()


EDITS: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "empty": ("runs.json", lambda _: ""),
    "without runs": ("runs.json", lambda _: "[]"),
    "without a key": ("runs.json", lambda text: text.replace("wall_s", "wall")),
    "text for a number": ("runs.json", lambda text: re.sub('"wall_s": [0-9.]+', '"wall_s": "long"', text)),
    "runs are missing": ("runs.json", lambda _: None),
    "scores are missing": ("detectors.csv", lambda _: None),
    "nothing": ("detectors.csv", lambda _: ""),
    "the header only": ("detectors.csv", lambda text: text.splitlines()[0]),
    "without a column": ("detectors.csv", lambda text: text.replace(",map,", ",mean,")),
    "a row twice": ("detectors.csv", lambda text: text + text.splitlines()[-1]),
    "without a row": ("detectors.csv", lambda text: text.rsplit("\n", 2)[0]),
    "of another seed": ("detectors.csv", lambda text: text.replace(",0,0,", ",0,7,")),
    "text": ("detectors.csv", lambda text: text.rsplit(",", 1)[0] + ",high\n"),
}


@pytest.mark.parametrize(("file", "edit"), EDITS.values(), ids=EDITS)
def test_seeds_are_not_added_to_files_that_were_edited(
    finished: Path, tmp_path: Path, file: str, edit: Callable[[str], str | None]
) -> None:
    run(tmp_path, part(finished, tmp_path / "a", seeds=(0,)))
    path = tmp_path / "fabricated" / file
    edited = edit(path.read_text())
    path.unlink() if edited is None else path.write_text(edited)
    with pytest.raises(InputError, match=rf"{file} is missing, or not as .* leave out --add"):
        run(tmp_path, part(finished, tmp_path / "b", seeds=(1,)), "--add")
