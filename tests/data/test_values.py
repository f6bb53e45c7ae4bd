"""Plain values as annotation files hold them."""

import pytest

from mgral.data.values import as_int64, flag, identifier, number, whole


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (3, 3),
        (3.5, 3.5),
        ("3.5", 3.5),
        (" 3 ", 3.0),
        (10**12, 10**12),
        (-2e10, -2e10),
        (True, None),
        ("1_0", None),
        ("x", None),
        (None, None),
        ([], None),
        (float("nan"), None),
        ("inf", None),
        (10**400, None),
    ],
)
def test_numbers(value, meaning):
    assert number(value) == meaning


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (3, 3),
        (3.0, 3),
        ("3", 3),
        ("3.0", 3),
        ("-07", -7),
        (3.5, None),
        ("3.5", None),
        (True, None),
        ("1_0", None),
        ("", None),
    ],
)
def test_whole_numbers(value, meaning):
    assert whole(value) == meaning


@pytest.mark.parametrize("value", [1, 1.0, True, "1", "1.0", "true", " TRUE "])
def test_yes(value):
    assert flag(value) == 1


@pytest.mark.parametrize("value", [0, 0.0, False, "0", "0.0", "false", None, ""])
def test_no(value):
    assert flag(value) == 0


@pytest.mark.parametrize("value", [2, "yes", "unknown", 0.5, [], {}])
def test_neither(value):
    assert flag(value) is None


def test_ids():
    assert [identifier(value) for value in ("0012", 5.0, " a ", "", None, 1.5, True)] == [
        12,
        5,
        "a",
        None,
        None,
        None,
        None,
    ]
    assert as_int64([7, -3]) == {7: 7, -3: -3}
    assert as_int64(["b", 2**64, "a", 5]) == {5: 1, 2**64: 2, "a": 3, "b": 4}
