"""The upright box around a shape, in pixels."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Corners(NamedTuple):
    """An upright box by its corners."""

    left: float
    top: float
    right: float
    bottom: float


def around(points: Sequence[tuple[float, float]]) -> Corners:
    """Return the box around one point or more."""
    xs, ys = zip(*points, strict=True)
    return Corners(min(xs), min(ys), max(xs), max(ys))


def around_turned(box: Corners, pivot: tuple[float, float], degrees: float) -> Corners:
    """Return the box around a box that is turned clockwise, as seen on a screen, about a point."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    corners = [(x - pivot[0], y - pivot[1]) for x in (box.left, box.right) for y in (box.top, box.bottom)]
    return around([(pivot[0] + x * cosine - y * sine, pivot[1] + x * sine + y * cosine) for x, y in corners])


def around_ellipse(x: float, y: float, radii: tuple[float, float], degrees: float) -> Corners:
    """Return the box around an ellipse, given its centre, its radii along x and y, and its turn clockwise."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    half_width = math.hypot(radii[0] * cosine, radii[1] * sine)
    half_height = math.hypot(radii[0] * sine, radii[1] * cosine)
    return Corners(x - half_width, y - half_height, x + half_width, y + half_height)


def centre(box: Corners) -> tuple[float, float]:
    """Return the point in the middle of a box."""
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2
