"""Cards that are dealt to real processes, by a stand-in for the driver; no test needs a GPU."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_workflow import ROOT

from mgral.compute import cards
from mgral.compute.gpus import VISIBLE, Card, find_cards
from mgral.errors import InputError, StepError

JOB = """
import os, sys, time
from pathlib import Path
from mgral.compute.cards import hold_cards

gpus, memory, folder, name = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
with hold_cards(gpus, memory):
    (folder / f"{name}.began").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
    while not (folder / f"{name}.ends").exists():
        time.sleep(0.02)
(folder / f"{name}.ended").touch()
"""
TWO, FOUR = "GPU-a:16000,GPU-b:16000", "GPU-a:16000,GPU-b:8000,GPU-c:16000,GPU-d:16000"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a job that holds its cards until it may end; all are killed in the end."""
    jobs: list[subprocess.Popen[str]] = []

    def start(name: str, cards: str, memory: int = 0, gpus: int = 1, **more: str) -> subprocess.Popen[str]:
        own = {"PYTHONPATH": str(ROOT / "tests/support/driver"), "TMPDIR": str(tmp_path), "STAND_IN_CARDS": cards}
        left_out = (VISIBLE, "MGRAL_DEVICE")
        environment = {key: value for key, value in os.environ.items() if key not in left_out}
        command = [sys.executable, "-c", JOB, str(gpus), str(memory), str(tmp_path), name]
        jobs.append(subprocess.Popen(command, text=True, stderr=subprocess.PIPE, env={**environment, **own, **more}))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.communicate()


def given(folder: Path, *names: str) -> list[str]:
    """Wait until jobs hold cards, and return which."""
    until = time.monotonic() + 30
    while not all((folder / f"{name}.began").exists() for name in names):
        assert time.monotonic() < until, f"{names} wait for ever"
        time.sleep(0.02)
    time.sleep(0.05)  # written, too
    return [(folder / f"{name}.began").read_text() for name in names]


def end(folder: Path, name: str) -> None:
    (folder / f"{name}.ends").touch()


def waits(job: subprocess.Popen[str], folder: Path, name: str) -> str:
    """Return what a job says that waits for room."""
    assert job.stderr is not None
    said = job.stderr.readline()
    assert not (folder / f"{name}.began").exists()
    return said


def test_eight_jobs_share_two_cards_and_never_exceed_their_memory(tmp_path: Path, start: Start) -> None:
    """Of 16,000 MiB three jobs of 5,000 fit: six run, and the others wait for an end."""
    names = [f"job{number}" for number in range(8)]
    for name in names:
        start(name, TWO, 5000)
    held: dict[str, str] = {}
    for still in range(8, 0, -1):
        until = time.monotonic() + 30
        while len(running := [one for one in names if (tmp_path / f"{one}.began").exists()]) < min(6, still):
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.5 if still > 6 else 0.05)
        running = [one for one in names if (tmp_path / f"{one}.began").exists()]
        held = {one: (tmp_path / f"{one}.began").read_text() for one in running}
        counts = Counter(held.values())
        assert max(counts.values()) <= 3
        if still > 6:
            assert counts == {"GPU-a": 3, "GPU-b": 3}
        end(tmp_path, running[0])
        while not (tmp_path / f"{running[0]}.ended").exists():
            time.sleep(0.02)
        (tmp_path / f"{running[0]}.began").unlink()
        names.remove(running[0])
    assert not names


def test_a_killed_job_frees_its_share_at_once(tmp_path: Path, start: Start) -> None:
    first = start("first", "GPU-a:16000", 9000)
    given(tmp_path, "first")
    second = start("second", "GPU-a:16000", 9000)
    assert waits(second, tmp_path, "second") == (
        "waiting for 9000 MiB of a GPU: other jobs have the 1 that there are\n"
    )
    first.send_signal(signal.SIGKILL)
    assert given(tmp_path, "second") == ["GPU-a"]


def test_all_cards_are_used_and_a_small_one_by_its_size(tmp_path: Path, start: Start) -> None:
    names = [f"job{number}" for number in range(7)]
    for name in names:
        start(name, FOUR, 8000)
    assert Counter(given(tmp_path, *names)) == {"GPU-a": 2, "GPU-b": 1, "GPU-c": 2, "GPU-d": 2}


@pytest.mark.parametrize(
    ("visible", "cards"),
    [("1", ["GPU-b"]), ("2,1", ["GPU-b", "GPU-c"]), ("GPU-d", ["GPU-d"]), ("GPU-", ["GPU-"]), ("", [""])],
)
def test_only_visible_cards_are_dealt(tmp_path: Path, start: Start, visible: str, cards: list[str]) -> None:
    """What names no card leaves the variable as it is: the step then says that there is none."""
    names = [f"job{number}" for number in range(len(cards))]
    for name in names:
        start(name, FOUR, 8000, **{VISIBLE: visible})
    assert sorted(given(tmp_path, *names)) == cards


def test_a_part_of_a_divided_card_is_dealt_by_its_name(tmp_path: Path, start: Start) -> None:
    parts = "GPU-a:80000,MIG-1/2/0:10000,MIG-1/3/0:10000"
    for name in ("one", "two"):
        start(name, parts, 8000, **{VISIBLE: "MIG-1/2/0,MIG-1/3/0,MIG-9"})
    assert sorted(given(tmp_path, "one", "two")) == ["MIG-1/2/0", "MIG-1/3/0"]


def test_several_cards_are_given_undivided_and_in_turn(tmp_path: Path, start: Start) -> None:
    """What asks later, and would find room, does not overtake a job that waits for two cards."""
    start("small", TWO, 1000)
    given(tmp_path, "small")
    both = start("both", TWO, 1000, gpus=2)
    assert waits(both, tmp_path, "both") == "waiting for 2 empty GPUs: other jobs have the 2 that there are\n"
    later = start("later", TWO, 1000)
    waits(later, tmp_path, "later")
    end(tmp_path, "small")
    assert sorted(given(tmp_path, "both")[0].split(",")) == ["GPU-a", "GPU-b"]
    assert not (tmp_path / "later.began").exists()
    end(tmp_path, "both")
    given(tmp_path, "later")


def test_a_job_that_needs_more_than_a_card_has_gets_all_of_one(tmp_path: Path, start: Start) -> None:
    start("greedy", "GPU-a:16000", 99000)
    assert given(tmp_path, "greedy") == ["GPU-a"]
    waits(start("other", "GPU-a:16000", 1), tmp_path, "other")


@pytest.mark.parametrize("kept_off", [{"MGRAL_DEVICE": "cpu"}, {"gpus": 0}, {"gpus": 3}])
def test_where_no_card_is_dealt_nothing_waits(tmp_path: Path, start: Start, kept_off: dict[str, str]) -> None:
    start("first", TWO, 0, gpus=2)
    given(tmp_path, "first")
    start("second", TWO, **kept_off)
    assert given(tmp_path, "second") == ["all"]


@pytest.mark.parametrize("instead", ["/", "nowhere", None], ids=["of another user", "dead link", "file"])
def test_what_is_not_this_users_folder_is_refused(tmp_path: Path, start: Start, instead: str | None) -> None:
    folder = tmp_path / f"mgral-cards-{os.getuid()}"
    if instead is None:
        folder.touch()
    else:
        folder.symlink_to(instead)
    _, errors = start("job", TWO).communicate(timeout=60)
    assert "is not this user's folder; remove it, or set TMPDIR" in errors


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("queue", Path.mkdir, "queue cannot be written (Is a directory); remove it"),
        ("idle", Path.touch, "idle is to be a folder, and cannot be made (File exists); remove it"),
    ],
)
def test_what_is_in_the_way_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], None], message: str
) -> None:
    monkeypatch.setattr(cards, "find_cards", lambda: [Card("GPU-a", "stand-in", 16000)])
    monkeypatch.setattr(cards, "only_cpu", lambda: False)
    monkeypatch.setattr(cards, "shared_folder", lambda: tmp_path)
    make(tmp_path / name)
    (tmp_path / "GPU-a.5000.folder").mkdir()  # no job's
    with pytest.raises(StepError, match=re.escape(message)):
        cards.take(1, 5000)


def test_a_card_without_memory_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests/support/driver")
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.setattr("mgral.compute.gpus.cuda_of_torch", lambda: "12")
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("STAND_IN_CARDS", "GPU-a:0,GPU-b:8000")
    assert [card.name for card in find_cards()] == ["GPU-b"]
    monkeypatch.setenv("STAND_IN_CARDS", "GPU-a:0")
    with pytest.raises(InputError, match="the NVIDIA driver says that NVIDIA Stand-in has no memory; repair it"):
        find_cards()
