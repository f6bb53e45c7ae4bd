"""Archives that are meant to do harm, and those that are not."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from mgral.data.download.unpack import unpack
from mgral.errors import InputError, StepError


def tar_of(path: Path, *members: tuple[str, bytes, str]) -> Path:
    """A tar of (name, type, link's target)."""
    with tarfile.open(path, "w") as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mode = kind, target, 4 * (kind == tarfile.REGTYPE), 0o4777
            tar.addfile(info, io.BytesIO(b"text"))
    return path


def zip_of(path: Path, *members: tuple[str, int]) -> Path:
    """A zip of (name, mode)."""
    with zipfile.ZipFile(path, "w") as packed:
        for name, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, b"text")
    return path


GOOD = ("set/a/x.jpg", tarfile.REGTYPE, "")


@pytest.mark.parametrize(
    "bad",
    [
        ("../evil", tarfile.REGTYPE, ""),
        ("set/../../evil", tarfile.REGTYPE, ""),
        ("/tmp/evil", tarfile.REGTYPE, ""),
        ("..", tarfile.DIRTYPE, ""),
        ("set/link", tarfile.SYMTYPE, "a/x.jpg"),
        ("set/link", tarfile.SYMTYPE, "/etc"),
        ("elsewhere/link", tarfile.SYMTYPE, "../.."),
        ("set/link", tarfile.LNKTYPE, "set/a/x.jpg"),
        ("set/link", tarfile.LNKTYPE, "/etc/passwd"),
        ("set/pipe", tarfile.FIFOTYPE, ""),
        ("set/null", tarfile.CHRTYPE, ""),
    ],
)
def test_a_tar_that_leads_out_or_links_is_not_unpacked(tmp_path, bad):
    archive = tar_of(tmp_path / "bad.tar", GOOD, bad)
    with pytest.raises(InputError, match=rf"bad\.tar: '{bad[0]}' is a link or leads out"):
        unpack(archive, tmp_path / "in" / "set", "set")
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()] == [archive]


@pytest.mark.parametrize(
    "bad", [("../evil", 0o100644), ("/tmp/evil", 0o100644), ("set/link", stat.S_IFLNK | 0o777), ("set/../../x/", 0)]
)
def test_a_zip_that_leads_out_or_links_is_not_unpacked(tmp_path, bad):
    archive = zip_of(tmp_path / "bad.zip", ("set/a/x.jpg", 0), bad)
    with pytest.raises(InputError, match=rf"bad\.zip: '{bad[0]}' is a link or leads out"):
        unpack(archive, tmp_path / "in" / "set", "set")
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()] == [archive]


def test_only_the_folder_is_unpacked_without_its_modes(tmp_path):
    archives = [
        tar_of(
            tmp_path / "a.tar",
            ("kit", tarfile.DIRTYPE, ""),
            ("./kit/set/a/x.jpg", *GOOD[1:]),
            ("kit/set2", *GOOD[1:]),
        ),
        zip_of(tmp_path / "a.zip", ("kit/set/", 0), ("kit/set/a/x.jpg", 0o104777), ("kit/other", 0)),
    ]
    for archive in archives:
        target = tmp_path / f"{archive.name}.folder"
        unpack(archive, target, "kit/set")
        assert [path for path in target.rglob("*") if path.is_file()] == [target / "a" / "x.jpg"]
        assert (target / "a" / "x.jpg").read_bytes() == b"text"
        assert (target / "a" / "x.jpg").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR) == 0


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_damaged_archives_are_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(os.urandom(5000))
    with pytest.raises(InputError, match=rf"{name} is damaged"):
        unpack(path, tmp_path / "set", "set")


def test_a_damaged_file_in_a_zip_is_noticed(tmp_path):
    archive = zip_of(tmp_path / "a.zip", ("set/x.jpg", 0))
    archive.write_bytes(archive.read_bytes().replace(b"text", b"tExt"))
    with pytest.raises(InputError, match=r"is damaged .*CRC"):
        unpack(archive, tmp_path / "set", "set")


def test_an_archive_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.tar: holds no folder other"):
        unpack(tar_of(tmp_path / "a.tar", GOOD), tmp_path / "set", "other")


def test_space_is_looked_for_first(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: os.terminal_size((0, 0)) and type("Usage", (), {"free": 3}))
    with pytest.raises(StepError, match="free space"):
        unpack(tar_of(tmp_path / "a.tar", GOOD), tmp_path / "set", "set")
    assert list((tmp_path / "set").iterdir()) == []
