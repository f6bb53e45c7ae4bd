"""Plain values as annotation files contain them: integers as 3, 3.0 or "3", flags as 1, true, "1" or "true"."""

import math
import re
from collections.abc import Iterable

_FLAGS: dict[object, int] = {None: 0, "": 0, "0": 0, "1": 1, "false": 0, "true": 1}
_WHOLE = re.compile(r"[+-]?[0-9]{1,400}(\.0*)?")
_USUAL = 1e9
"""Numbers below it, which are nearly all, need no other check."""
_LARGEST = 2**63 - 1


def number(value: object) -> float | None:
    """Return a finite number, given as a number or as text; None for anything else."""
    if (type(value) is float or type(value) is int) and -_USUAL < value < _USUAL:
        return value
    if isinstance(value, str):
        try:
            value = float(value) if "_" not in value else None
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the largest float
        return None


def whole(value: object) -> int | None:
    """Return an integer, given as 3, 3.0 or "3"; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return None


def flag(value: object) -> int | None:
    """Return 0 or 1 for a yes or no, given as a number, a truth value or text; None for anything else."""
    if isinstance(value, str):
        value = value.strip().lower()
        if value in _FLAGS:
            return _FLAGS[value]
    if value is None:
        return 0
    integer = int(value) if isinstance(value, bool) else whole(value)
    return integer if integer in (0, 1) else None


def identifier(value: object) -> int | str | None:
    """Return an id: an integer where it is one, else its text; None where it is neither."""
    if (integer := whole(value)) is not None:
        return integer
    return (value.strip() or None) if isinstance(value, str) else None


def as_int64(ids: Iterable[int | str]) -> dict[int | str, int]:
    """Return the number of each id: itself, where all fit into 64 bits, else its place in sorted order, from 1."""
    distinct = list(dict.fromkeys(ids))
    if all(isinstance(original, int) and -_LARGEST <= original <= _LARGEST for original in distinct):
        return {original: int(original) for original in distinct}
    in_order = sorted(distinct, key=lambda original: (isinstance(original, str), original))
    return {original: rank for rank, original in enumerate(in_order, start=1)}
