"""The box around a mask of COCO JSON."""

from collections.abc import Mapping
from typing import Any

from mgral.data.values import number


def around_mask(mask: object) -> tuple[float, float, float, float] | None:
    """Return left, top, right and bottom of polygons, or of a mask in run lengths; None where there is none."""
    if isinstance(mask, dict):
        return _around_runs(mask)
    if not isinstance(mask, list) or not all(isinstance(polygon, list) and len(polygon) % 2 == 0 for polygon in mask):
        return None
    values = [number(value) for polygon in mask for value in polygon]
    coordinates = [value for value in values if value is not None]
    if not coordinates or len(coordinates) < len(values):
        return None
    xs, ys = coordinates[::2], coordinates[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _around_runs(mask: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Return the corners around a mask of runs, x1, y1, x2, y2; None where it is not valid."""
    from faster_coco_eval.core import mask as masks  # few files have such masks

    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        return None
    if isinstance(counts, list):
        if not all(isinstance(count, int) and count >= 0 for count in counts) or sum(counts) != size[0] * size[1]:
            return None
        mask = masks.frPyObjects({"size": size, "counts": counts}, *size)
    elif not isinstance(counts, str) or not counts.isascii():
        return None
    try:
        x, y, width, height = map(float, masks.toBbox({**mask, "size": size}))
    except (RuntimeError, ValueError, OverflowError):  # counts that no mask has
        return None
    return x, y, x + width, y + height
