"""Drawing of synthetic scenes: backgrounds, shapes and clutter from signed distances, antialiased, by NumPy alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SIZE = 128
"""Width and height of an image, in pixels."""
CLASSES = ("cross", "disc", "ring", "square", "star", "triangle")

_COLOURS = ((225, 65, 45), (45, 95, 220), (245, 205, 40), (40, 175, 90), (240, 235, 240), (165, 55, 190))
"""Mean colour of each class's objects, RGB."""
_COLOUR_SPREAD = 30.0
"""Standard deviation of an object's colour around the mean of its class, in 0..255."""

Pixels = npt.NDArray[np.float64]
_ROWS, _COLUMNS = np.mgrid[0.5:SIZE, 0.5:SIZE]
_VISIBLE = 0.35
"""Part of a shape that must be seen, neither hidden nor cut off, for it to get a box."""


class SceneKind(NamedTuple):
    """Scenes that look alike and contain alike objects."""

    name: str
    train_share: float
    test_share: float
    background: str
    palette: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Two colours that the background mixes, RGB in 0..255."""
    objects: tuple[int, int]
    """Fewest and most objects."""
    empty: float
    """Probability of a scene without objects."""
    weights: tuple[float, float, float, float, float, float]
    """Weights of the classes, in the order of `CLASSES`."""
    radius: tuple[float, float]
    """Smallest and largest radius of an object, in pixels."""
    contrast: float
    """Least distance of an object's colour from the background's, RGB in 0..255."""
    clutter: int
    noise: float
    """Standard deviation of a pixel, in 0..255."""


KINDS = (
    SceneKind("plain", 0.45, 0.22, "gradient", ((150, 170, 190), (205, 210, 215)), (1, 3), 0.12,
              (0.01, 0.5, 0.01, 0.45, 0.01, 0.02), (15, 27), 80, 1, 5),
    SceneKind("stripes", 0.22, 0.18, "stripes", ((110, 90, 70), (170, 150, 120)), (1, 4), 0.05,
              (0.02, 0.34, 0.02, 0.32, 0.02, 0.28), (13, 25), 70, 3, 7),
    SceneKind("grass", 0.14, 0.16, "smooth", ((40, 90, 40), (110, 150, 70)), (2, 5), 0.03,
              (0.04, 0.2, 0.34, 0.06, 0.04, 0.32), (12, 23), 65, 5, 10),
    SceneKind("tiles", 0.09, 0.16, "tiles", ((120, 60, 55), (175, 115, 95)), (3, 6), 0.03,
              (0.3, 0.05, 0.3, 0.2, 0.05, 0.1), (12, 23), 60, 4, 8),
    SceneKind("night", 0.06, 0.14, "specks", ((8, 10, 25), (35, 35, 60)), (3, 7), 0.03,
              (0.25, 0.05, 0.25, 0.05, 0.35, 0.05), (11, 21), 60, 5, 9),
    SceneKind("market", 0.04, 0.14, "blobs", ((90, 60, 110), (200, 170, 90)), (6, 8), 0.0,
              (0.25, 0.1, 0.1, 0.1, 0.3, 0.15), (10, 19), 60, 8, 8),
)  # fmt: skip


class _Shape(NamedTuple):
    label: int
    centre: tuple[float, float]
    velocity: tuple[float, float]
    radius: float
    angle: float
    colour: Pixels
    second_colour: Pixels
    texture: int


class _Line(NamedTuple):
    ends: Pixels
    thickness: float
    colour: Pixels


@dataclass(frozen=True)
class Scene:
    """What is drawn; a video shows it in several frames that differ by motion, brightness and noise."""

    kind: SceneKind
    background: Pixels
    clutter: tuple[_Line, ...]
    shapes: tuple[_Shape, ...]
    camera: tuple[float, float]
    """Motion of all shapes, in pixels a frame."""


class Frame(NamedTuple):
    """One image and its boxes."""

    pixels: npt.NDArray[np.uint8]
    """Shape [SIZE, SIZE, 3], RGB."""
    boxes: list[tuple[int, int, int, int]]
    """x, y, width, height in integer pixels, of the shape with its hidden parts, as far as it is in the image."""
    labels: list[int]
    """Indices into `CLASSES`."""


def draw_scene(kind: SceneKind, rng: np.random.Generator) -> Scene:
    """Draw what a scene of the given kind shows."""
    background = _background(kind, rng)
    clutter = tuple(_draw_line(rng) for _ in range(rng.integers(kind.clutter // 2, kind.clutter + 1)))
    count = 0 if rng.random() < kind.empty else int(rng.integers(kind.objects[0], kind.objects[1] + 1))
    weights = np.array(kind.weights)
    # A scene that can contain every class does, so that even a small training set shows each.
    labels = list(rng.permutation(len(CLASSES))) if kind.objects[0] >= len(CLASSES) else []
    labels += list(rng.choice(len(CLASSES), max(count - len(labels), 0), p=weights / weights.sum()))
    shapes: list[_Shape] = []
    for label in labels:
        shape = _draw_shape(kind, int(label), background, shapes, rng)
        if shape is not None:
            shapes.append(shape)
    camera = rng.uniform(-1.5, 1.5, 2)
    return Scene(kind, background, clutter, tuple(shapes), (float(camera[0]), float(camera[1])))


def render_frame(scene: Scene, number: int, rng: np.random.Generator) -> Frame:
    """Render frame `number` of a scene; `rng` draws its noise and brightness."""
    canvas = scene.background.copy()
    for line in scene.clutter:
        _paint_line(canvas, line)
    owner = np.full((SIZE, SIZE), -1)
    masks, areas = [], []
    for index, shape in enumerate(scene.shapes):
        x, y = (shape.centre[i] + number * (shape.velocity[i] + scene.camera[i]) for i in range(2))
        mask, area = _paint_shape(canvas, shape, x, y)
        owner[mask] = index
        masks.append(mask)
        areas.append(area)
    shown = [index for index, area in enumerate(areas) if np.count_nonzero(owner == index) >= _VISIBLE * area]
    gain, offset = rng.uniform(0.8, 1.15), rng.uniform(-12, 12)
    noisy = canvas * gain + offset + rng.normal(0, scene.kind.noise, canvas.shape)
    pixels = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    return Frame(pixels, [_bounds(masks[index]) for index in shown], [scene.shapes[index].label for index in shown])


def _draw_shape(
    kind: SceneKind, label: int, background: Pixels, placed: list[_Shape], rng: np.random.Generator
) -> _Shape | None:
    """Draw a shape where it hides no other by much; return None where a few tries find no such place."""
    for _ in range(20):
        radius = float(rng.uniform(*kind.radius))
        x, y = (float(coordinate) for coordinate in rng.uniform(radius * 0.8, SIZE - radius * 0.8, 2))
        distances = [np.hypot(x - shape.centre[0], y - shape.centre[1]) / (radius + shape.radius) for shape in placed]
        if all(distance > 0.75 for distance in distances):
            break
    else:
        return None
    behind = background[int(y), int(x)]
    angle = rng.uniform(-0.4, 0.4) if CLASSES[label] in ("square", "cross") else rng.uniform(0, 2 * np.pi)
    velocity = rng.uniform(-0.8, 0.8, 2)
    return _Shape(
        label=label,
        centre=(x, y),
        velocity=(float(velocity[0]), float(velocity[1])),
        radius=radius,
        angle=float(angle),
        colour=_far_colour(label, behind, kind.contrast, rng),
        second_colour=_far_colour(label, behind, kind.contrast, rng),
        texture=int(rng.integers(3)),
    )


def _far_colour(label: int, behind: Pixels, distance: float, rng: np.random.Generator) -> Pixels:
    """Draw a colour around the class's own that differs from what is behind it.

    The nearer the background is to the class's colour, the wider the draw: colour helps to tell the class, so that a
    small detector learns it in seconds, but only shape tells it for certain.
    """
    spread = _COLOUR_SPREAD
    while True:
        colour: Pixels = (np.array(_COLOURS[label]) + rng.normal(0, spread, 3)).clip(0, 255)
        if np.sqrt(((colour - behind) ** 2).sum()) > distance:
            return colour
        spread *= 1.1


def _draw_line(rng: np.random.Generator) -> _Line:
    middle, reach = rng.uniform(0, SIZE, 2), rng.uniform(-22, 22, 2)
    return _Line(np.array([middle - reach, middle + reach]), float(rng.uniform(0.7, 2)), rng.uniform(0, 255, 3))


def _paint_line(canvas: Pixels, line: _Line) -> None:
    x, y = _COLUMNS, _ROWS
    (x1, y1), (x2, y2) = line.ends
    length = max((x2 - x1) ** 2 + (y2 - y1) ** 2, 1e-9)
    along = (((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length).clip(0, 1)
    distance = np.sqrt((x - x1 - along * (x2 - x1)) ** 2 + (y - y1 - along * (y2 - y1)) ** 2)
    cover = 0.8 * (0.5 + line.thickness - distance).clip(0, 1)[..., None]
    canvas += cover * (line.colour - canvas)


def _paint_shape(canvas: Pixels, shape: _Shape, x: float, y: float) -> tuple[npt.NDArray[np.bool_], int]:
    """Paint a shape centred at x, y; return its mask, bool [SIZE, SIZE], and its area with what the edge cuts off."""
    reach = int(np.ceil(shape.radius * 1.5)) + 2
    left, top = int(np.floor(x)) - reach, int(np.floor(y)) - reach
    rows, columns = np.mgrid[top : top + 2 * reach, left : left + 2 * reach] + 0.5
    cos, sin = np.cos(shape.angle), np.sin(shape.angle)
    u = ((columns - x) * cos + (rows - y) * sin) / shape.radius
    v = ((rows - y) * cos - (columns - x) * sin) / shape.radius
    distance = _DISTANCES[CLASSES[shape.label]](u, v) * shape.radius
    rim = (1.0 - np.abs(distance + 1.0)).clip(0, 1)[..., None]
    colour = _fill(shape, u, v) * (1 - 0.5 * rim)
    cover = (0.5 - distance).clip(0, 1)[..., None]

    window = (slice(max(top, 0), max(top + 2 * reach, 0)), slice(max(left, 0), max(left + 2 * reach, 0)))
    patch = canvas[window]
    within = (slice(max(-top, 0), max(-top, 0) + len(patch)), slice(max(-left, 0), max(-left, 0) + patch.shape[1]))
    patch += cover[within] * (colour[within] - patch)
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[window] = distance[within] <= 0
    return mask, int(np.count_nonzero(distance <= 0))


def _fill(shape: _Shape, u: Pixels, v: Pixels) -> Pixels:
    """Return the shape's own texture, [h, w, 3]: plain, shaded, or striped."""
    mix = (np.zeros_like(u), 0.35 * (u + 1).clip(0, 2), 0.6 * ((v * 3) % 1 > 0.5))[shape.texture][..., None]
    filled: Pixels = shape.colour * (1 - mix) + shape.second_colour * mix
    return filled


def _bounds(inside: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return x, y, width and height of a mask."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return (
        int(columns[0]),
        int(rows[0]),
        int(columns[-1] - columns[0] + 1),
        int(rows[-1] - rows[0] + 1),
    )


def _bar(u: Pixels, v: Pixels, half_width: float, half_height: float) -> Pixels:
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def _sides(u: Pixels, v: Pixels, count: int, distance: float) -> Pixels:
    """Return the signed distances to `count` lines around the centre, ascending, [count, h, w]."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.sort([u * np.cos(angle) + v * np.sin(angle) - distance for angle in angles], axis=0)


# Signed distances, negative inside, of shapes of about radius 1 around the origin.
_DISTANCES: dict[str, Callable[[Pixels, Pixels], Pixels]] = {
    "cross": lambda u, v: np.minimum(_bar(u, v, 1, 0.34), _bar(u, v, 0.34, 1)),
    "disc": lambda u, v: np.sqrt(u**2 + v**2) - 1,
    "ring": lambda u, v: np.abs(np.sqrt(u**2 + v**2) - 0.76) - 0.24,
    "square": lambda u, v: _bar(u, v, 0.86, 0.86),
    # A point of a five-pointed star is outside one of the five lines at most.
    "star": lambda u, v: _sides(u, v, 5, 0.39)[-2],
    "triangle": lambda u, v: _sides(u, v, 3, 0.55)[-1],
}


def _background(kind: SceneKind, rng: np.random.Generator) -> Pixels:
    """Return a background, [SIZE, SIZE, 3]: a mixture of the kind's two colours, slightly changed."""
    mix = _TEXTURES[kind.background](rng)[..., None]
    first, second = (np.array(colour) + rng.normal(0, 10, 3) for colour in kind.palette)
    mixed: Pixels = (first * (1 - mix) + second * mix).clip(0, 255)
    return mixed


def _gradient(rng: np.random.Generator) -> Pixels:
    angle = rng.uniform(0, 2 * np.pi)
    ramp: Pixels = (
        0.5 + ((_COLUMNS / SIZE - 0.5) * np.cos(angle) + (_ROWS / SIZE - 0.5) * np.sin(angle)) / 1.4
    ).clip(0, 1)
    return ramp


def _stripes(rng: np.random.Generator) -> Pixels:
    angle, period = rng.uniform(0, np.pi), rng.uniform(10, 22)
    phase = (_COLUMNS * np.cos(angle) + _ROWS * np.sin(angle)) / period + rng.uniform()
    bands: Pixels = (np.abs(phase % 1 - 0.5) * 8 - 1.5).clip(0, 1)
    return bands


def _tiles(rng: np.random.Generator) -> Pixels:
    size = rng.uniform(14, 24)
    rows, columns = ((axis + rng.uniform(0, size)) / size for axis in (_ROWS, _COLUMNS))
    shade = rng.uniform(0.3, 1, (16, 16))[rows.astype(int) % 16, columns.astype(int) % 16]
    joint = np.minimum(rows % 1, columns % 1) < 0.1
    return np.where(joint, 0.0, shade)


def _smooth(rng: np.random.Generator, cells: int = 14) -> Pixels:
    """Interpolate noise bilinearly between (cells + 1) x (cells + 1) points."""
    points = rng.uniform(0, 1, (cells + 1, cells + 1))
    positions = (np.arange(SIZE) + 0.5) * cells / SIZE
    low = positions.astype(int)
    fraction = positions - low
    rows = points[low] * (1 - fraction)[:, None] + points[low + 1] * fraction[:, None]
    noise: Pixels = rows[:, low] * (1 - fraction) + rows[:, low + 1] * fraction
    return noise


def _specks(rng: np.random.Generator) -> Pixels:
    sky = 0.6 * _smooth(rng, 3)
    sky[tuple(rng.integers(0, SIZE, (2, 60)))] = 3.0
    return sky


def _blobs(rng: np.random.Generator) -> Pixels:
    return ((_smooth(rng, 6) - 0.5) * 5 + 0.5).clip(0, 1)


_TEXTURES: dict[str, Callable[[np.random.Generator], Pixels]] = {
    "gradient": _gradient,
    "stripes": _stripes,
    "smooth": _smooth,
    "tiles": _tiles,
    "specks": _specks,
    "blobs": _blobs,
}
