"""The folder of a batch: what is in it, for one person and for several; and that it is whole or not there."""

import csv
import errno
import io
import json
import math
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import get_args
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelling_files import drawn, found_box, read, task
from made_project import MadeProject

from mgral.data.findings import FaultyDataError
from mgral.errors import InputError, StepError
from mgral.labelling import batch_files
from mgral.labelling.batch_files import unique_names, write_batch
from mgral.labelling.batches import _own_names
from mgral.labelling.exchange.read import FormatName
from mgral.labelling.running import BatchOptions, _prefix

FORMATS: tuple[FormatName, ...] = get_args(FormatName)
ODD = ['50% "a".jpg', "#1 & 2.jpg", "naïve 図.jpg", "it's +1?.jpg", "a;b,c.jpg", "<x>.jpg"]


@pytest.fixture
def six(tmp_path):
    """A batch of six pictures with odd names, the last of which is worth most."""
    (tmp_path / "photos").mkdir()
    tasks = [
        task(n, [found_box(10 * n, 20, 30, 40)], rank=7 - n, name=name, reason='few, "rare"; ones', score=n / 7)
        for n, name in enumerate(ODD, start=1)
    ]
    return drawn(tmp_path / "photos", *tasks)


def table(folder):
    return list(csv.DictReader(io.StringIO((folder / "selection.csv").read_text("utf-8-sig"), newline="")))


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_all_is_there_for_one_person(six, tmp_path):
    write_batch(six, tmp_path / "out", FORMATS, ["why"])
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {"selection.csv", "sheet.html", "pictures", "tasks"}
    assert {path.name for path in (folder / "tasks").iterdir()} == set(FORMATS)
    for one in six.tasks:
        assert (folder / "pictures" / one.name).samefile(one.path)  # no byte of it is there twice
    assert len(files(folder / "pictures")) == 6
    for name in FORMATS:
        found = read(folder / "tasks" / name)
        assert {Path(one.file).name for one in found.labels} == set(ODD)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_table_opens_in_a_spreadsheet(six, tmp_path):
    write_batch(six, tmp_path / "out", [], [])
    assert (tmp_path / "out" / "selection.csv").read_bytes().startswith(b"\xef\xbb\xbffile,rank,score,reason,")
    rows = table(tmp_path / "out")
    assert [row["file"] for row in rows] == ODD[::-1]
    assert [row["rank"] for row in rows] == list("123456")
    assert [row["image"] for row in rows] == list("654321")
    assert {row["reason"] for row in rows} == {'few, "rare"; ones'}
    assert rows[0]["score"] == "0.857143"
    assert {row["person"] for row in rows} == {""}


def test_split_over_people(six, tmp_path):
    owners = write_batch(six, tmp_path / "out", FORMATS, [], people=3, shared=1 / 3, prefix="/x/?d={}/".format)
    folder = tmp_path / "out"
    people = ("person1", "person2", "person3")
    assert {path.name for path in folder.iterdir()} == {"selection.csv", "sheet.html", *people}
    assert [row["person"] for row in table(folder)] == ["; ".join(owners[n]) for n in (6, 5, 4, 3, 2, 1)]
    assert sorted(map(len, owners.values())) == [1, 1, 1, 1, 2, 2]
    for person in people:
        names = [row["file"] for row in table(folder / person)]
        assert names == [one.name for one in six.tasks[::-1] if person in owners[one.image]]
        assert 2 <= len(names) <= 3
        assert files(folder / person / "pictures") == set(names)
        page = (folder / person / "sheet.html").read_text()
        assert f"{len(names)} pictures to label" in page
        assert person in page
        assert {path.name for path in (folder / person / "tasks").iterdir()} == set(FORMATS)
        tasks = json.loads((folder / person / "tasks" / "label_studio" / "label_studio.json").read_text())
        # What the tool is asked for is where the picture lies, after the browser's escapes.
        places = [parse_qs(urlsplit(one["data"]["image"]).query)["d"][0] for one in tasks]
        assert places == [f"{person}/pictures/{name}" for name in names]
        assert all((folder / place).is_file() for place in places)


def test_more_people_than_pictures(tmp_path):
    write_batch(drawn(tmp_path, task(1), task(2)), tmp_path / "out", ["coco"], [], people=4)
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {"person1", "person2"}


def test_label_studio_finds_pictures_below_the_project(tmp_path):
    assert (
        _prefix(BatchOptions([]), tmp_path, tmp_path / "round3")("pictures")
        == "/data/local-files/?d=round3/pictures/"
    )
    place = _prefix(BatchOptions([]), tmp_path, tmp_path / "look again")("person1/pictures")
    assert place == "/data/local-files/?d=look%20again/person1/pictures/"
    for own, expected in {"https://a/b": "https://a/b/", "s3://a/": "s3://a/", "/x/?d=": "/x/?d="}.items():
        assert _prefix(BatchOptions([], prefix=own), tmp_path, tmp_path / "round3")("person1/pictures") == expected


def nothing_is_left(folder):
    return [path.name for path in folder.iterdir() if path.name != "photos"] == []


@pytest.mark.parametrize("people", [1, 3])
def test_missing_pictures_are_named_and_nothing_is_written(six, tmp_path, people):
    for one in six.tasks[:2]:
        one.path.unlink()
    with pytest.raises(FaultyDataError, match="2 faults of 1 kind") as caught:
        write_batch(six, tmp_path / "out", FORMATS, [], people=people)
    assert ODD[1] in str(caught.value)
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    "wrong", [found_box(1, 1, 9, 9, "bus"), found_box(600, 1, 90, 9), found_box(1, 1, math.nan, 9)]
)
def test_faulty_tasks_are_refused_before_anything_is_made(six, tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(batch_files, "thumbnails", lambda *_: pytest.fail("pictures were opened"))
    faulty = replace(six, tasks=(*six.tasks[:-1], replace(six.tasks[-1], boxes=(wrong,))))
    with pytest.raises(FaultyDataError, match="<x>"):
        write_batch(faulty, tmp_path / "out", FORMATS, [])
    assert nothing_is_left(tmp_path)


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["os.link", "json.dump", "mgral.labelling.exchange.tasks.write_voc"])
def test_a_full_disk_leaves_nothing(six, tmp_path, monkeypatch, place):
    monkeypatch.setattr(place, full)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StepError, match="No space left"):
        write_batch(six, tmp_path / "out", FORMATS, [], people=2)
    assert nothing_is_left(tmp_path)
    monkeypatch.undo()
    write_batch(six, tmp_path / "out", FORMATS, [], people=2)
    assert (tmp_path / "out" / "person2" / "tasks" / "voc").is_dir()


def test_pictures_are_copied_where_links_cannot_be(six, tmp_path, monkeypatch):
    monkeypatch.setattr("os.link", full)
    write_batch(six, tmp_path / "out", [], [])
    for one in six.tasks:
        copy = tmp_path / "out" / "pictures" / one.name
        assert copy.read_bytes() == one.path.read_bytes()
        assert not copy.samefile(one.path)


def test_a_folder_that_is_there_is_left_alone(six, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(InputError, match="exists already"):
        write_batch(six, tmp_path / "out", [], [])
    assert files(tmp_path / "out") == {"mine.txt"}


def names(*paths):
    return unique_names(list(map(PurePosixPath, paths)))


def test_pictures_keep_their_names_where_they_can():
    assert names("/a/x.jpg", "/b/y.png") == ["x.jpg", "y.png"]
    assert names("/a/x.jpg", "/b/x.jpg", "/b/y.jpg") == ["a_x.jpg", "b_x.jpg", "y.jpg"]
    # Label files of YOLO and VOC have no suffix, and some file systems no case.
    assert names("/a/x.jpg", "/b/X.PNG") == ["a_x.jpg", "b_X.PNG"]
    assert names("/p/a/x.jpg", "/q/a/x.jpg") == ["p_a_x.jpg", "q_a_x.jpg"]
    assert names("/a/x.jpg", "/a/x.png") == ["x.jpg", "x_2.png"]  # no folder of the machine, which would tell nothing
    assert names("/a/x.jpg", "/b/x.jpg", "/c/a_x.jpg") == ["x.jpg", "b_x.jpg", "a_x.jpg"]


def test_what_tools_would_refuse_is_replaced():
    assert names("/a/at 9\u202fam.jpg", "/a/b\\c.jpg", "/a/ d\n.jpg") == ["at 9_am.jpg", "b_c.jpg", "d_.jpg"]


PARTS = st.lists(
    st.text("aA_1. \\\u202fé", min_size=1, max_size=3).filter(lambda t: t.strip(". ")), min_size=1, max_size=3
)
PATHS = st.tuples(PARTS, st.sampled_from([".jpg", ".png", ".JPG"])).map(
    lambda p: PurePosixPath("/", *p[0]).with_suffix(p[1])
)


@settings(max_examples=300, deadline=None)
@given(paths=st.lists(PATHS, max_size=8, unique=True))
def test_no_two_names_differ_by_suffix_or_case_alone(paths):
    found = unique_names(paths)
    assert len(found) == len(paths)
    for name, path in zip(found, paths, strict=True):
        assert name.endswith(path.suffix)
        assert name.isprintable()
        assert not {"/", "\\"} & set(name)
    for one, other in combinations(found, 2):
        assert PurePosixPath(one).stem.casefold() != PurePosixPath(other).stem.casefold()


def test_a_name_that_another_picture_was_sent_under_is_not_used_again():
    project = MadeProject(pictures=3).send(1, 1).project
    assert _own_names(project, [1, 2], ["p1.jpg", "p2.jpg"]) == ["p1.jpg", "p2.jpg"]
    assert _own_names(project, [2], ["P1.png"]) == ["P1_2.png"]
    # And none that is in the batch.
    assert _own_names(project, [2, 3], ["p1.jpg", "p1_2.jpg"]) == ["p1_2_2.jpg", "p1_2.jpg"]


def test_tasks_of_cvat_have_the_shape_that_it_reads(six, tmp_path):
    write_batch(six, tmp_path / "out", ["cvat"], [])
    root = ElementTree.parse(tmp_path / "out" / "tasks" / "cvat" / "annotations.xml").getroot()
    assert [one.get("name") for one in root.iter("image")] == ODD[::-1]
