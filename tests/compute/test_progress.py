import pytest

from mgral.compute import progress
from mgral.compute.progress import tracked


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_a_second(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in tracked(range(10), "detector", 12, done=2):
        clock[0] += 0.4
    assert capsys.readouterr().err.splitlines() == ["detector 5/12", "detector 8/12", "detector 11/12"]


def test_a_log_of_many_hours_stays_short(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in tracked(range(36_000), "detector", 36_000):
        clock[0] += 1
    lines = capsys.readouterr().err.splitlines()
    # Lines are 2 % of the time apart: 50 s until they are a second apart, then ln(36000 / 50) / ln(1.02) of them.
    assert 300 < len(lines) < 400


def test_all_items_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked("abc", "letters", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
