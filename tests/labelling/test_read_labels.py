"""Files, folders and archives: which format they hold, and what is refused."""

import struct
import zipfile
from pathlib import Path

import pytest
from labelling_files import faults, read

from mgral.errors import InputError
from mgral.labelling.exchange import reading, sources
from mgral.labelling.starting import digest_of

COCO = '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}'
FILES = {
    "label_studio": ("a.txt", '[{"data": {"image": "a.jpg"}}]'),
    "coco": ("a.json", "\ufeff" + COCO),
    "cvat": ("a.xml", "<!-- <annotation> --><annotations/>"),
    "voc": ("a.xml", '<?xml version="1.0"?>\n<annotation><filename>a.jpg</filename></annotation>'),
    "yolo": ("data.yml", "path: .\nnames: [car]\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_format_is_found_by_the_content(tmp_path: Path, name: str) -> None:
    file, text = FILES[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    found = read(tmp_path / file)
    assert (found.format, found.findings.faults) == (name, {})


def test_what_holds_several_formats_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="no labels of a known format"):
        read(tmp_path)
    (tmp_path / "a.json").write_text(COCO)
    (tmp_path / "data.yaml").write_text("names: [car]\n")
    with pytest.raises(InputError, match=r"several formats: coco \(a.json\), yolo \(data.yaml\); name one"):
        read(tmp_path)
    assert read(tmp_path, format="coco").format == "coco"
    with pytest.raises(InputError, match="is not there"):
        read(tmp_path / "b.zip")


def archive(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, text in files.items():
            opened.writestr(name.replace("__", "/"), text)
    return path


@pytest.mark.parametrize("name", ["../a.json", "/a.json", "b/../../a.json", "C:\\a.json", "b\\..\\..\\a.json"])
def test_an_archive_that_names_files_outside_of_it_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(name, COCO)
    with pytest.raises(InputError, match="names a file outside of it"):
        read(tmp_path / "a.zip")


def test_an_archive_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "a.zip", **{"a.json": COCO}).read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[:-10])
    with pytest.raises(InputError, match="no complete zip archive"):
        read(tmp_path / "b.zip")
    (tmp_path / "c.zip").write_bytes(whole.replace(whole[40:60], bytes(20), 1))
    with pytest.raises(InputError, match="damaged in its archive"):
        read(tmp_path / "c.zip")
    assert faults(read(tmp_path / "c.zip", format="coco")) == {reading.UNREADABLE.title: 1}


def test_an_archive_that_pretends_to_be_small_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "a.zip", **{"a.json": COCO + " " * 10_000})
    assert path.stat().st_size < 1000
    monkeypatch.setattr(sources, "LARGEST", 5_000)
    with pytest.raises(InputError, match="GB of text"):
        read(path)


def test_an_archive_that_lies_about_its_sizes_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", **{"a.json": COCO + " " * 10_000})
    size = struct.pack("<L", len(COCO) + 10_000)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<L", 50)))
    assert faults(read(path, format="coco")) == {reading.UNREADABLE.title: 1}


def test_linked_folders_are_followed_once_and_count_as_content(tmp_path: Path) -> None:
    folder, linked = tmp_path / "export", tmp_path / "elsewhere"
    folder.mkdir()
    linked.mkdir()
    (linked / "a.json").write_text(COCO)
    (folder / "labels").symlink_to(linked)
    (linked / "back").symlink_to(folder)
    assert len(read(folder).labels) == 1
    before = digest_of(folder)
    (linked / "a.json").write_text(COCO + " ")
    assert digest_of(folder) != before


def test_hidden_files_of_a_folder_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(COCO)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "b.json").write_text(COCO)
    assert len(read(tmp_path).labels) == 1
