"""Pictures are recognised by their bytes, and each is decoded before it is in a round."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from mgral.data.findings import FaultyDataError
from mgral.labelling import scanning
from mgral.labelling.ledger import new_line
from mgral.labelling.scanning import SEEN, remember_files, scan_events, scan_pictures
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project, replay


def draw(path, seed, size=(20, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def place(tmp_path):
    for number in range(3):
        draw(tmp_path / "photos" / "a" / f"{number}.png", number)
    return tmp_path


def settings(**more):
    return ProjectSettings(project="p", pictures={"photos": "photos"}, budget=10, batch=2, **more)


def scanned(place, project=None, lines=(), **more):
    """Scan, and return what was found and the project with it."""
    project = project or Project()
    found = scan_pictures(place, settings(**more), project)
    remember_files(place, found)
    added = [*lines, *(new_line(what, events) for what, events in scan_events(found).items())]
    return found, added, replay(added)


def repairs(found):
    return {kind.title: len(places) for kind, places in found.findings.repairs.items()}


def test_a_second_scan_finds_nothing_new_and_reads_nothing(place, monkeypatch):
    found, lines, project = scanned(place)
    assert [(one.id, one.file, one.width, one.height) for one in found.new] == [
        (number + 1, f"photos/a/{number}.png", 20, 10) for number in range(3)
    ]
    monkeypatch.setattr("hashlib.file_digest", None)
    again, _, _ = scanned(place, project, lines)
    assert (again.new, again.moved, again.missing, repairs(again)) == ([], {}, set(), {})


def test_a_renamed_picture_keeps_its_number(place):
    _, lines, project = scanned(place)
    (place / "photos" / "a" / "1.png").rename(place / "photos" / "b.png")
    found, _, project = scanned(place, project, lines)
    assert (found.new, found.moved, found.missing) == ([], {2: "photos/b.png"}, set())
    assert project.files[2] == "photos/b.png"


def test_two_names_that_are_exchanged(place):
    _, lines, project = scanned(place)
    a, b, c = (place / "photos" / "a" / name for name in ("0.png", "1.png", "c.png"))
    a.rename(c), b.rename(a), c.rename(b)
    found, _, _ = scanned(place, project, lines)
    assert (found.new, found.moved, found.missing) == ([], {1: "photos/a/1.png", 2: "photos/a/0.png"}, set())


def test_a_missing_picture_is_named_and_comes_back(place):
    _, lines, project = scanned(place)
    path = place / "photos" / "a" / "2.png"
    content = path.read_bytes()
    path.unlink()
    found, lines, project = scanned(place, project, lines)
    assert found.missing == {3}
    path.write_bytes(content)
    found, _, _ = scanned(place, project, lines)
    assert (found.new, found.missing) == ([], set())


def test_other_bytes_under_a_known_name_are_refused_unless_taken_for_a_new_picture(place):
    _, _, project = scanned(place)
    draw(place / "photos" / "a" / "0.png", 99, (40, 20))
    with pytest.raises(FaultyDataError, match=r"other bytes than before.*\(1\)"):
        scan_pictures(place, settings(), project)
    found = scan_pictures(place, settings(), project, take_changed=True)
    assert [(one.id, one.file, one.width) for one in found.new] == [(4, "photos/a/0.png", 40)]
    assert found.missing == {1}


def test_known_bytes_are_gathered_once_however_many_pictures_changed(place):
    class Counted(dict):
        times = 0

        def values(self):
            self.times += 1
            return super().values()

    _, _, project = scanned(place)

    def times_with(changed):
        for number in range(changed):
            draw(place / "photos" / "a" / f"{number}.png", 90 + number)
        project.pictures = Counted(project.pictures)
        with pytest.raises(FaultyDataError, match=rf"other bytes than before.*\({changed}\)"):
            scan_pictures(place, settings(), project)
        return project.pictures.times

    assert times_with(1) == times_with(3)


def test_copies_and_files_that_are_no_pictures_are_left_out_with_a_line(place):
    (place / "photos" / "copy.png").write_bytes((place / "photos" / "a" / "0.png").read_bytes())
    (place / "photos" / "cut.png").write_bytes((place / "photos" / "a" / "1.png").read_bytes()[:200])
    (place / "photos" / "empty.jpg").touch()
    (place / "photos" / "notes.txt").write_text("no picture")
    (place / "photos" / ".hidden.png").touch()
    found, *_ = scanned(place)
    assert len(found.new) == 3
    copies, unusable = sorted(found.findings.repairs.values(), key=len)
    assert [one.split()[0] for one in copies] == ["photos/copy.png"]
    assert sorted(re.split("[ :]", one)[0] for one in unusable) == ["photos/cut.png", "photos/empty.jpg"]
    assert "photos/copy.png" not in {one.file for one in found.new}


def test_the_size_is_that_of_the_upright_picture(place):
    path = place / "photos" / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 10)).save(path, exif=exif)
    sizes = {one.file: (one.width, one.height) for one in scanned(place)[0].new}
    assert sizes["photos/turned.jpg"] == (10, 30)
    sizes = {one.file: (one.width, one.height) for one in scanned(place, exif="ignore")[0].new}
    assert sizes["photos/turned.jpg"] == (30, 10)


def test_pictures_of_the_test_set_are_of_it_only(place):
    draw(place / "tests" / "t.png", 50)
    (place / "tests" / "0.png").write_bytes((place / "photos" / "a" / "0.png").read_bytes())
    found = scan_pictures(place, settings(test_pictures={"test": "tests"}), Project())
    files = {one.id: one.file for one in found.new}
    assert {files[number] for number in found.new_test} == {"test/0.png", "test/t.png"}
    assert "photos/a/0.png" not in files.values()


def test_folders_that_are_not_there_are_all_named(tmp_path):
    own = ProjectSettings(project="p", pictures={"x": "nowhere", "y": "neither"}, budget=10, batch=2)
    with pytest.raises(FaultyDataError, match=r"2 faults of 1 kind"):
        scan_pictures(tmp_path, own, Project())


def test_what_was_read_may_be_forgotten_or_damaged(place):
    _, lines, project = scanned(place)
    (place / SEEN).write_text("{")
    assert scanned(place, project, lines)[0].new == []
    (place / SEEN).unlink()
    assert scanned(place, project, lines)[0].new == []


@pytest.mark.parametrize("folder", ["round1", "check2", "replay3", "results"])
def test_copies_in_folders_of_the_project_itself_are_passed_over(place, folder):
    """The project lies in its folder of pictures."""
    (place / "photos" / folder).mkdir()
    shutil.copy(place / "photos" / "a" / "0.png", place / "photos" / folder / "0.png")
    own = ProjectSettings(project="p", pictures={"photos": "."}, budget=10, batch=2)
    found = scan_pictures(place / "photos", own, Project())
    assert not [one for one in found.new if folder in one.file]
    assert not repairs(found)


def test_files_are_named_by_their_place_below_the_folder_links_and_dots_included(place):
    draw(place / "photos" / "top.png", 10)
    draw(place / "photos" / "a" / "b.c" / "deep.png", 11)
    draw(place / "elsewhere" / "linked.png", 12)
    (place / "photos" / "link").symlink_to(place / "elsewhere")
    files = {one.file for one in scanned(place)[0].new}
    assert files == {
        *(f"photos/a/{number}.png" for number in range(3)),
        *("photos/top.png", "photos/a/b.c/deep.png", "photos/link/linked.png"),
    }


def test_copies_of_what_is_no_picture_are_none_either(place):
    for name in ("x.png", "y.png", "z.png"):
        (place / "photos" / name).write_bytes(b"<html>404</html>")
    found, *_ = scanned(place)
    assert repairs(found) == {scanning.UNREADABLE.title: 3}


def test_pictures_of_other_suffixes_are_counted(place):
    for name in ("x.HEIC", "y.heic", "notes.txt"):
        (place / "photos" / name).touch()
    found, *_ = scanned(place)
    assert found.findings.repairs == {scanning.OTHER_SUFFIX: ["photos: 2 .heic"]}
    shutil.rmtree(place / "photos" / "a")
    with pytest.raises(FaultyDataError, match=r"files there: 2 \.heic, 1 \.txt"):
        scanned(place)
