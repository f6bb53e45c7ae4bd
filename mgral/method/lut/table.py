"""Gathering the variants into the lookup table."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import REASON, read_json
from mgral.artefacts.seeds import derive_seed
from mgral.config import Distance, EmbeddingConfig, RewardConfig
from mgral.errors import InputError, SparseError
from mgral.method.lut.by_amount import mean_objects
from mgral.method.lut.by_distance import SubsetDistance
from mgral.method.lut.estimators import (
    estimators_of,
    leave_one_out,
    leave_one_out_regression,
    median_distances,
)
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.wasserstein import SlicedDistance, draw_projections, project_and_sort
from mgral.selection.embeddings import Embeddings, Scale


class Variant(NamedTuple):
    """A trained variant: what it learnt from, and its scores on the reward images, 0 to 1."""

    variant: int
    """Number of its subset, 0..K; subset 0 is empty."""
    images: int
    """Images of its subset."""
    objects: list[int] | None
    """Objects of each class that it learnt from in its subset, [C]; None where it learnt without labels."""
    map: float
    ap50: float
    class_map: list[float | None]
    """AP of each class, [C]; None where no reward image has one."""


class VariantScores(NamedTuple):
    """What the variants 0..K reach on the reward images, 0 to 1."""

    maps: npt.NDArray[np.float64]
    """Shape [K + 1], finite."""
    class_maps: npt.NDArray[np.float64]
    """AP of each class, [K + 1, C]; not a number where no reward image has one."""
    objects: npt.NDArray[np.float64]
    """Objects of each class that they learnt from in their subsets, [K + 1, C]; not a number where without labels."""

    @classmethod
    def of(cls, variants: Sequence[Variant]) -> "VariantScores":
        """Take the variants 0..K, in this order."""
        nothing = [None] * len(variants[0].class_map)
        objects = [nothing if one.objects is None else one.objects for one in variants]
        maps = np.array([one.map for one in variants], dtype=np.float64)
        return cls(maps, *(np.array(rows, dtype=np.float64) for rows in ([v.class_map for v in variants], objects)))


def load_variants(paths: Sequence[Path], plan: SubsetPlan) -> VariantScores:
    """Return the scores of the variants 0..K, in whatever order their files are given.

    Raises
    ------
    InputError
        Where a variant is missing, given twice, not of this plan, or without a finite mAP.
    SparseError
        Where a file says why there are no variants.
    """
    found: dict[int, tuple[Path, Variant]] = {}
    for path in paths:
        for one in _read_variants(path, plan):
            if one.variant in found:
                raise InputError(
                    f"{path} and {found[one.variant][0]} both hold variant {one.variant}; give each variant once"
                )
            found[one.variant] = (path, one)
    missing = [k for k in range(len(plan.subsets)) if k not in found]
    if missing:
        raise InputError(f"variants {missing} are missing; run the step `variant` for each and give its file")
    variants = [found[k][1] for k in range(len(plan.subsets))]
    lengths = {len(values) for one in variants for values in (one.class_map, one.objects) if values is not None}
    if len(lengths) > 1:
        raise InputError(f"{paths[0].parent}: variants have AP of different classes; run the step `variant` for all")
    return VariantScores.of(variants)


def _read_variants(path: Path, plan: SubsetPlan) -> Iterator[Variant]:
    content = read_json(path)
    if isinstance(content, dict) and REASON in content:
        raise SparseError(content[REASON])
    try:
        variants = [
            Variant(
                one["variant"],
                one["images"],
                None if one["objects"] is None else list(one["objects"]),
                one["map"],
                one["ap50"],
                list(one["class_map"]),
            )
            for one in content["variants"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold variants ({error}); run the step `variant` again") from None
    for one in variants:
        _check_variant(path, plan, one)
        yield one


def _check_variant(path: Path, plan: SubsetPlan, one: Variant) -> None:
    if not isinstance(one.variant, int) or not 0 <= one.variant < len(plan.subsets):
        raise InputError(
            f"{path}: variant {one.variant} is not among 0..{len(plan.subsets) - 1} of the plan; leave the file out"
        )
    if one.images != len(plan.subsets[one.variant]):
        raise InputError(
            f"{path}: trained on a subset of {one.images} images, but the plan gives variant {one.variant} "
            f"{len(plan.subsets[one.variant])}; run the step `variant` again"
        )
    if not isinstance(one.map, int | float) or not isfinite(one.map):
        raise InputError(f"{path}: map is {one.map}, not a number; run the step `variant` again")
    for name, values in (("class_map", one.class_map), ("objects", one.objects or [])):
        if not all(value is None or isinstance(value, int | float) for value in values):
            raise InputError(f"{path}: {name} holds {values}, not numbers; run the step `variant` again")


def table_arrays(
    scores: VariantScores,
    plan: SubsetPlan,
    embeddings: Embeddings,
    embedding: EmbeddingConfig,
    reward: RewardConfig,
    seed: int,
) -> tuple[dict[str, npt.NDArray[Any]], list[dict[str, float]]]:
    """Return the arrays of `table.safetensors` and the rows of `leave_one_out.csv`.

    Raises
    ------
    InputError
        Where the embeddings are of fewer classes than the variants' scores.
    """
    vectors, counts = embeddings.features_of(plan.subsets[1:], embedding)
    table: dict[str, npt.NDArray[Any]] = {"map": scores.maps[1:], "baseline_map": scores.maps[:1]}
    if reward.distance == "by_class":
        classes = _measured_classes(scores, embeddings)
        scale = Scale.of(embeddings.counts)
        table |= {"classes": classes, "counts": counts, "values": scores.class_maps[1:, classes]}
        table |= {"count_zero": scale.zero, "count_unit": scale.unit, "count_mean": scale.mean}
    else:
        rng = np.random.default_rng(derive_seed(seed, "projections"))
        projections = draw_projections(vectors.shape[2], reward.projections, rng)
        table |= {"embeddings": vectors, "projections": projections, "values": scores.maps[1:, None]}
        table["sorted"] = project_and_sort(vectors, projections)
    values = table["values"]
    distance = subset_distance(table, reward)
    pairwise = distance(distance.subsets)
    table["kernel_widths"] = widths = median_distances(pairwise)
    predicted = {
        "nearest": leave_one_out(pairwise, values, "nearest", widths),
        "kernel": leave_one_out(pairwise, values, "kernel", widths),
    }
    if reward.distance == "by_class":
        learnt = scores.objects[1:, classes] / counts.shape[1]
        # Without labels to learn from, what the subset's images are predicted to hold.
        of_images = mean_objects(np.sort(distance.subsets, axis=1), scale.zero[classes], scale.unit[classes])
        table["amounts"] = np.where(np.isnan(learnt), of_images, learnt)
        predicted["regression"] = leave_one_out_regression(table["amounts"], values)
    return table, _leave_one_out_rows(scores, predicted)


def leave_one_out_columns(distance: Distance) -> tuple[str, ...]:
    """Return the columns of `leave_one_out.csv`."""
    return ("variant", "baseline", "measured", *estimators_of(distance))


def count_scale(table: Mapping[str, npt.NDArray[Any]]) -> Scale:
    """Return the scale of the counts of a table by class, given its arrays."""
    return Scale(table["count_zero"], table["count_unit"], table["count_mean"])


def subset_distance(table: Mapping[str, npt.NDArray[Any]], reward: RewardConfig) -> SubsetDistance:
    """Return the distances to the subsets of a table, given its arrays; by class they are of scaled counts."""
    if reward.distance == "by_class":
        scaled = count_scale(table).apply(table["counts"])[..., table["classes"]]
        return SubsetDistance(scaled, SlicedDistance(None, np.sort(scaled, axis=1)), reward.distance)
    return SubsetDistance(table["embeddings"], SlicedDistance(table["projections"], table["sorted"]), reward.distance)


def _measured_classes(scores: VariantScores, embeddings: Embeddings) -> npt.NDArray[np.int64]:
    """Return the classes that have an AP in every variant, int64 [G]."""
    classes = np.flatnonzero(np.isfinite(scores.class_maps).all(axis=0))
    known = embeddings.counts.shape[1]
    if len(classes) and classes.max() >= known:
        raise InputError(
            f"{embeddings.path} holds counts of {known} classes, but variants have an AP of class {classes.max()}; "
            "run the step `embed` again"
        )
    return classes


def _leave_one_out_rows(
    scores: VariantScores, predicted: dict[str, npt.NDArray[np.float64]]
) -> list[dict[str, float]]:
    """Return a row a variant; the baseline is the mAP of variant 0, in every row."""
    baseline, *measured = scores.maps.tolist()
    return [
        {"variant": k + 1, "baseline": baseline, "measured": value}
        | {estimator: float(values[k]) for estimator, values in predicted.items()}
        for k, value in enumerate(measured)
    ]
