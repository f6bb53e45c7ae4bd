"""Gathering the variants into the look-up table."""

from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts import derive_seed, read_json
from mgral.config import RewardConfig
from mgral.errors import InputError
from mgral.lut.estimators import leave_one_out, median_distance
from mgral.lut.plan import SubsetPlan
from mgral.lut.reward import SubsetDistance
from mgral.lut.wasserstein import SlicedDistance, draw_projections, project_and_sort
from mgral.pool import Embeddings

LEAVE_ONE_OUT_COLUMNS = ("variant", "baseline", "measured", "nearest", "kernel")
"""The baseline is the mAP of variant 0, on every line."""


def load_variants(paths: Sequence[Path], plan: SubsetPlan) -> npt.NDArray[np.float64]:
    """Return the mAP of the variants 0..K, float64 [K + 1], in whatever order their files are given.

    Raises
    ------
    InputError
        Where a variant is missing, given twice, not of this plan, or without a finite mAP.
    """
    found: dict[int, tuple[Path, float]] = {}
    for path in paths:
        for variant, value in _read_variants(path, plan):
            if variant in found:
                raise InputError(
                    f"{path} and {found[variant][0]} both hold variant {variant}; give each variant once"
                )
            found[variant] = (path, value)
    missing = [k for k in range(len(plan.subsets)) if k not in found]
    if missing:
        raise InputError(f"variants {missing} are missing; run the step `variant` for each and give its file")
    return np.array([found[k][1] for k in range(len(plan.subsets))])


def _read_variants(path: Path, plan: SubsetPlan) -> Iterator[tuple[int, float]]:
    content = read_json(path)
    try:
        found = [(entry["variant"], entry["images"], entry["map"]) for entry in content["variants"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold variants ({error}); run the step `variant` again") from None
    for variant, images, value in found:
        _check_variant(path, plan, variant, images, value)
        yield variant, float(value)


def _check_variant(path: Path, plan: SubsetPlan, variant: Any, images: Any, value: Any) -> None:
    if not isinstance(variant, int) or not 0 <= variant < len(plan.subsets):
        raise InputError(
            f"{path}: variant {variant} is not among 0..{len(plan.subsets) - 1} of the plan; leave the file out"
        )
    if images != len(plan.subsets[variant]):
        raise InputError(
            f"{path}: trained on a subset of {images} images, but the plan gives variant {variant} "
            f"{len(plan.subsets[variant])}; run the step `variant` again"
        )
    if not isinstance(value, int | float) or not isfinite(value):
        raise InputError(f"{path}: map is {value}, not a number; run the step `variant` again")


def build_table(
    variant_maps: npt.NDArray[np.float64], plan: SubsetPlan, embeddings: Embeddings, reward: RewardConfig, seed: int
) -> tuple[dict[str, npt.NDArray[Any]], list[dict[str, float]]]:
    """Return the arrays of `table.safetensors` and the rows of `leave_one_out.csv`.

    Parameters
    ----------
    variant_maps
        mAP of the variants 0..K, 0 to 1, float64 [K + 1].
    """
    values = variant_maps[1:]
    vectors = np.stack([embeddings.of(images) for images in plan.subsets[1:]])
    rng = np.random.default_rng(derive_seed(seed, "projections"))
    projections = draw_projections(vectors.shape[2], reward.projections, rng)
    presorted = project_and_sort(vectors, projections)
    sliced = SlicedDistance(projections, presorted) if reward.distance == "sliced" else None
    pairwise = SubsetDistance(vectors, sliced)(vectors)
    width = median_distance(pairwise)
    table: dict[str, npt.NDArray[Any]] = {
        "map": values,
        "baseline_map": variant_maps[:1],
        "embeddings": vectors,
        "projections": projections,
        "sorted": presorted,
        "kernel_width": np.array([width]),
    }
    by_nearest = leave_one_out(pairwise, values, "nearest", width)
    by_kernel = leave_one_out(pairwise, values, "kernel", width)
    baseline = [float(variant_maps[0])] * len(values)
    measured = zip(baseline, values.tolist(), by_nearest.tolist(), by_kernel.tolist(), strict=True)
    rows = [dict(zip(LEAVE_ONE_OUT_COLUMNS, (k, *row), strict=True)) for k, row in enumerate(measured, start=1)]
    return table, rows
