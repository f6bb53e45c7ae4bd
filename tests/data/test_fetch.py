"""Files over HTTP: what comes out right, and what is refused, when a server on the loopback misbehaves."""

import hashlib
import random
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import announce, corrupt, cut, no_length, no_parts, refuse, serve

from mgral.data.download import fetch as fetching
from mgral.data.download.archives import Checksum, Published
from mgral.data.download.fetch import TRIES, fetch
from mgral.errors import InputError, StepError

CONTENT = random.Random(0).randbytes(100_001)
SHA256 = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest()[:8])
FILE = Published("http://host.invalid/made/here/data.zip", Checksum("md5", hashlib.md5(CONTENT).hexdigest()), 100_001)
UNSIZED = Published(FILE.url, SHA256)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(fetching, "CHUNK", 1000)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "data.zip").write_bytes(CONTENT)
    with serve(folder) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "here" / "data.zip"


def ranges(server):
    return [span for _, span in server.asked]


def only(path: Path) -> bytes:
    """The content of a file that has nothing beside it."""
    assert list(path.parent.iterdir()) == [path]
    return path.read_bytes()


@pytest.mark.parametrize("file", [FILE, UNSIZED])
def test_a_file_comes_whole_from_the_mirror_by_its_name(server, path, file):
    fetch(file, path, f"{server.url}/some/folder/")
    assert only(path) == CONTENT
    assert server.asked == [("data.zip", None)]


def test_without_a_mirror_its_makers_have_it(server, path):
    fetch(Published(f"{server.url}/zips/data.zip", FILE.checksum, FILE.bytes), path)
    assert only(path) == CONTENT


@pytest.mark.parametrize("file", [FILE, UNSIZED])
def test_a_broken_connection_is_gone_on_with(server, path, file):
    server.faults = [cut, cut]
    fetch(file, path, server.url)
    assert only(path) == CONTENT
    assert ranges(server) == [None, "bytes=50000-", "bytes=75000-"]


def test_any_number_of_breaks_will_do_while_bytes_arrive(server, path):
    server.faults = [lambda reply: replace(reply, body=reply.body[:5000])] * (TRIES + 4)
    fetch(FILE, path, server.url)
    assert only(path) == CONTENT


def test_the_next_run_goes_on_where_a_killed_one_was(server, path):
    path.parent.mkdir()
    (path.parent / "data.zip.part").write_bytes(CONTENT[:70_000])
    fetch(FILE, path, server.url)
    assert only(path) == CONTENT
    assert ranges(server) == ["bytes=70000-"]


@pytest.mark.parametrize("file", [FILE, UNSIZED])
def test_a_run_killed_before_the_last_check_asks_for_nothing_again(server, path, file):
    path.parent.mkdir()
    (path.parent / "data.zip.part").write_bytes(CONTENT)
    fetch(file, path, server.url)
    assert only(path) == CONTENT
    assert ranges(server) == ([] if file.bytes else ["bytes=100001-"])


def test_a_server_that_sends_no_parts_starts_anew(server, path):
    server.faults = [cut, no_parts]
    fetch(FILE, path, server.url)
    assert only(path) == CONTENT


@pytest.mark.parametrize("before", [CONTENT[::-1][:70_000], CONTENT[::-1], b"x" * 200_000])
def test_what_was_there_of_another_file_is_thrown_away(server, path, before):
    path.parent.mkdir()
    (path.parent / "data.zip.part").write_bytes(before)
    fetch(FILE, path, server.url)
    assert only(path) == CONTENT
    assert ranges(server)[-1] is None


def test_a_corrupted_file_is_downloaded_once_more(server, path):
    server.faults = [corrupt]
    fetch(FILE, path, server.url)
    assert only(path) == CONTENT
    assert ranges(server) == [None, None]


def test_a_file_corrupted_twice_is_refused_and_deleted(server, path):
    server.faults = [corrupt, corrupt]
    with pytest.raises(InputError, match=r"/data\.zip: what arrived, twice, is not .*; it was deleted"):
        fetch(FILE, path, server.url)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("difference", [-10, 10])
def test_a_length_other_than_the_published_one_is_refused(server, path, difference):
    server.faults = [announce(difference)]
    with pytest.raises(InputError, match=rf"announces {100_001 + difference:,} bytes, but 100,001 are published"):
        fetch(FILE, path, server.url)


@pytest.mark.parametrize("difference", [-10, 10])
def test_where_none_is_published_a_wrong_length_does_no_harm(server, path, difference):
    server.faults = [announce(difference)]
    fetch(UNSIZED, path, server.url)
    assert only(path) == CONTENT
    assert ranges(server) == ([None, "bytes=100000-"] if difference > 0 else [None, None])


def test_a_file_without_a_length_is_gone_on_with_too(server, path):
    server.faults = [lambda reply: no_length(cut(reply)), no_length]
    fetch(FILE, path, server.url)
    assert only(path) == CONTENT
    assert ranges(server) == [None, "bytes=50001-"]


def test_a_busy_server_is_asked_again(server, path):
    server.faults = [refuse(503), refuse(429)]
    fetch(FILE, path, server.url)
    assert only(path) == CONTENT


def test_waits_get_longer(server, path, monkeypatch):
    waits = []
    monkeypatch.setattr(fetching, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(fetching, "LONGEST_WAIT", 6.0)
    monkeypatch.setattr(fetching.time, "sleep", waits.append)
    server.faults = [refuse(503)] * TRIES
    with pytest.raises(StepError, match=r"503 Server Error.*; 0 bytes have arrived\. .*run again"):
        fetch(FILE, path, server.url)
    assert len(server.asked) == TRIES
    assert [low <= wait / 0.5 <= 3 * low for low, wait in zip([1, 2, 4, 6, 6], waits, strict=True)] == [True] * 5


def test_a_server_without_the_file_is_asked_once(server, path):
    with pytest.raises(InputError, match=r"none\.zip: 404 Client Error.*correct `data\.mirror`"):
        fetch(Published("http://host.invalid/none.zip", FILE.checksum), path, server.url)
    assert len(server.asked) == 1


def test_no_server_at_all_is_an_error_of_the_step(path, monkeypatch):
    monkeypatch.setattr(fetching, "FIRST_WAIT", 0.0)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(StepError, match="run again"):
            fetch(FILE, path, f"http://127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize("mirror", ["ftp://host.invalid/x", "http://"])
def test_an_address_that_is_none_is_refused(path, mirror):
    with pytest.raises(InputError, match=r"correct `data\.mirror`"):
        fetch(FILE, path, mirror)


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(server, path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 1000))
    with pytest.raises(StepError, match=r"0\.00 GB are needed, but 0\.00 GB are free; free space"):
        fetch(FILE, path, server.url)
    assert list(path.parent.iterdir()) == []


def test_a_folder_can_be_the_mirror(tmp_path, path):
    (tmp_path / "data.zip").write_bytes(CONTENT)
    fetch(FILE, path, str(tmp_path))
    assert only(path) == CONTENT
    (tmp_path / "data.zip").write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=r"data\.zip is damaged, or not the published file"):
        fetch(FILE, path, str(tmp_path))
    (tmp_path / "data.zip").unlink()
    with pytest.raises(InputError, match=r"there is no data\.zip in it"):
        fetch(FILE, path, str(tmp_path))
