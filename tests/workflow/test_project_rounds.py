"""Rounds of a project by Snakemake: the first without a label, then with labels, then with new pictures."""

from pathlib import Path

import pytest
from run_workflow import count_rules, planned, snakemake
from slow import slow
from squares_project import SquaresProject

from mgral.artefacts.files import read_json
from mgral.config import load_config
from mgral.engine.container import container_environment
from mgral.engine.needs import check_files
from mgral.engine.verification import verify
from mgral.errors import InputError

ALONE = {"pictures": 1, "config": 1, "data": 1, "initial": 1, "index": 1, "groups": 1, "select": 1}
LEFT_OUT = [4, 5, 6]
COPIES = {1: 21, 2: 22}
"""Pictures that are all but the same."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A project with its first two rounds opened: no label; six labels and an audit set. Nothing has run."""
    project = SquaresProject.make(tmp_path_factory.mktemp("rounds"))
    chunk = project.add(20, copies=list(COPIES))
    first = project.open(1, [chunk], left_out=LEFT_OUT, strategies=["typiclust"])
    audit = [project.labelled(number) for number in (19, 20)]
    labelled = [project.labelled(number) for number in range(7, 13)]
    second = project.open(2, [chunk], labelled, audit, LEFT_OUT, strategies=["core_set"])
    return project, chunk, first, second


def test_a_round_without_a_label_trains_nothing(opened):
    project, _, first, _ = opened
    assert count_rules(planned(project.folder, "--configfile", first)) == ALONE | {"embed": 1}


def test_labels_are_never_asked_for_where_there_are_none(opened, monkeypatch):
    project, chunk, *_ = opened
    needs = project.open(8, [chunk], strategies=["entropy_sum"])
    monkeypatch.chdir(project.folder)
    with pytest.raises(InputError, match="strategies: entropy_sum needs labelled images, and the round has none"):
        check_files(load_config(needs))


def test_all_files_of_a_round_must_be_there(opened, monkeypatch):
    project, chunk, *_ = opened
    config = load_config(project.folder / project.open(9, [chunk, "abcd"], strategies=["random"]))
    monkeypatch.chdir(project.folder)
    with pytest.raises(InputError, match=r"there is no file pictures/abcd\.json; restore it"):
        check_files(config)
    (project.folder / "pictures" / "abcd.json").write_text("[]")
    monkeypatch.setattr("mgral.engine.needs.picture_folders", lambda _: {"camera": Path("gone")})
    with pytest.raises(InputError, match=r"project\.yaml: there is no folder camera \(gone\)"):
        check_files(config)


def test_folders_of_pictures_are_shown_inside_of_the_container(opened, monkeypatch):
    project, _, first, _ = opened
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("APPTAINER_BIND", raising=False)
    found = container_environment(load_config(first), [first])["APPTAINER_BIND"]
    assert found == f"{project.pictures}:{project.pictures}:ro"


def artefacts(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Content and time of change of what is there."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@slow
def test_three_rounds(opened, monkeypatch):
    project, chunk, first, second = opened
    rounds = project.folder / "results"

    def run(config, *options):
        done = snakemake(project.folder, "--cores", "2", "--configfile", config, *options)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def chosen(number, strategy):
        return read_json(rounds / f"round{number}/seed{number}/strategies/{strategy}/cycle0/selection.json")["images"]

    run(first)
    batch = chosen(1, "typiclust")
    assert len(set(batch)) == 3
    assert not set(batch) & set(LEFT_OUT)
    assert not any(set(batch) >= pair for pair in map(set, COPIES.items()))
    found = count_rules(planned(project.folder, "--configfile", second))
    rules = {*ALONE, "detector", "embed", "evaluate", "prelabels"} - {"pictures"}
    assert found == dict.fromkeys(rules, 1)
    run(second)
    ids = [image["id"] for image in read_json(rounds / "round2/dataset/train.json")["images"]]
    assert not set(ids) & {19, 20, *LEFT_OUT}
    assert read_json(rounds / "round2/seed2/initial/cycle0/metrics.json")["boxes"] == 2
    batch = chosen(2, "core_set")
    assert not set(batch) & {19, 20, *LEFT_OUT, *range(7, 13)}
    found = read_json(rounds / "round2/prelabels.json")
    assert {one["image_id"] for one in found} <= set(batch)
    before = artefacts(rounds / "round1") | artefacts(rounds / "round2") | artefacts(rounds / "pictures")
    new = project.add(5)
    corrected = [project.labelled(number, by=2 * (number == 7)) for number in (*range(7, 13), 4)]
    third = project.open(
        3, [chunk, new], corrected, [project.labelled(19)], [5, 6, 20], strategies=["typiclust"], budget=50
    )
    said = run(third)
    after = artefacts(rounds)
    assert {path: after[path] for path in before} == before
    made = [path for path in after.keys() - before.keys() if rounds / "pictures" in path.parents]
    assert {path.name.split(".")[0] for path in made} == {new}
    x, y = project.corner(7)
    boxes = {box["image_id"]: box["bbox"] for box in read_json(rounds / "round3/dataset/train.json")["annotations"]}
    assert boxes[7] == [x + 2, y, 12, 12]
    batch = chosen(3, "typiclust")
    pool = set(range(1, 28)) - {*range(7, 13), 4, 19, 5, 6, 20}
    assert len(batch) == len(pool) - len(COPIES)
    assert set(batch) < pool
    assert f"warning: {len(batch)} images are chosen, not 50" in said
    for config in (first, second, third):
        assert planned(project.folder, "--configfile", config) == []
    (project.pictures / "1.png").write_bytes((project.pictures / "3.png").read_bytes())
    assert planned(project.folder, "--configfile", third) == []
    monkeypatch.chdir(project.folder)
    assert [verify(rounds / f"round{number}")[1] for number in (1, 2, 3)] == [[], [], []]
    (shared,) = (rounds / "pictures").iterdir()
    count, faults = verify(shared)
    assert count == 6
    assert {fault.artefact.split(".")[0] for fault in faults} == {chunk}
    assert "was made from other content of" in faults[0].problems[0]
