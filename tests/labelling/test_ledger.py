"""The ledger only grows: whole lines, one writer, nothing lost in a crash or on a full disk."""

import errno
import os

import pytest

from mgral.errors import InputError, StepError
from mgral.labelling.ledger import FILE, read_ledger, writing


@pytest.fixture(autouse=True)
def _begun(request, tmp_path):
    if request.function is not test_no_project:
        (tmp_path / FILE).touch()


EVENT = {"image": 1, "reason": "blurred, ähnlich 🦆"}


def test_lines_come_back_in_order(tmp_path):
    with writing(tmp_path) as writer:
        writer.add("withdrawn", [EVENT], "a.json", "f00")
        writer.add("recalled", [{"image": 1}])
        writer.add("recalled", [])
    first, second = read_ledger(tmp_path)
    assert (first.what, first.events, first.file, first.sha256) == ("withdrawn", (EVENT,), "a.json", "f00")
    assert (second.what, second.events) == ("recalled", ({"image": 1},))
    assert first.at.endswith("+00:00")


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_line_that_a_crash_cut_off_counts_for_nothing_and_is_replaced(cut, tmp_path):
    path = tmp_path / FILE
    with writing(tmp_path) as writer:
        writer.add("recalled", [{"image": 1}])
        whole = path.read_bytes()
        writer.add("recalled", [{"image": 2}])
    last = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + last[:cut])
    assert len(read_ledger(tmp_path)) == 1
    with writing(tmp_path) as writer:
        writer.add("recalled", [{"image": 3}])
    assert [line.events[0]["image"] for line in read_ledger(tmp_path)] == [1, 3]
    assert path.read_bytes().startswith(whole)


def test_a_damaged_line_before_the_last_is_refused(tmp_path):
    with writing(tmp_path) as writer:
        writer.add("recalled", [{"image": 1}])
        writer.add("recalled", [{"image": 2}])
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(b'"what"', b'"wh', 1))
    with pytest.raises(InputError, match="line 1 is damaged"):
        read_ledger(tmp_path)


def test_one_writer_at_a_time(tmp_path):
    with writing(tmp_path), pytest.raises(InputError, match="another command is changing"), writing(tmp_path):
        pass
    with writing(tmp_path) as writer:
        writer.add("recalled", [{"image": 1}])


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path, monkeypatch):
    with writing(tmp_path) as writer:
        writer.add("recalled", [{"image": 1}])
        before = (tmp_path / FILE).read_bytes()

        def full(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StepError, match=r"No space left.*nothing is changed"):
                writer.add("recalled", [{"image": 2}])
        assert (tmp_path / FILE).read_bytes() == before
        writer.add("recalled", [{"image": 3}])
    assert [line.events[0]["image"] for line in read_ledger(tmp_path)] == [1, 3]


def test_no_project(tmp_path):
    with pytest.raises(InputError, match="mgral project init"):
        read_ledger(tmp_path)
    with pytest.raises(InputError, match="mgral project init"), writing(tmp_path / "elsewhere"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_ledger_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(InputError, match=r"ledger.jsonl: Permission denied; correct its permissions"):
        read_ledger(tmp_path)
