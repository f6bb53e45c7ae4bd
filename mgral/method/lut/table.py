"""Gathering the variants into the lookup table."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_json
from mgral.artefacts.seeds import derive_seed
from mgral.config import EmbeddingConfig, RewardConfig
from mgral.errors import InputError
from mgral.method.lut.by_amount import mean_objects
from mgral.method.lut.by_distance import SubsetDistance
from mgral.method.lut.estimators import leave_one_out, leave_one_out_regression, median_distances
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.wasserstein import SlicedDistance, draw_projections, project_and_sort
from mgral.selection.embeddings import Embeddings, Scale


class VariantScores(NamedTuple):
    """What the variants 0..K reach on the reward images, 0 to 1."""

    maps: npt.NDArray[np.float64]
    """Shape [K + 1], finite."""
    class_maps: npt.NDArray[np.float64]
    """AP of each class, [K + 1, C]; not a number where no reward image has one."""
    objects: npt.NDArray[np.float64]
    """Objects of each class that they learnt from in their subsets, [K + 1, C]; not a number where without labels."""


def load_variants(paths: Sequence[Path], plan: SubsetPlan) -> VariantScores:
    """Return the scores of the variants 0..K, in whatever order their files are given.

    Raises
    ------
    InputError
        Where a variant is missing, given twice, not of this plan, or without a finite mAP.
    """
    found: dict[int, tuple[Path, _Variant]] = {}
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
    scores = [found[k][1] for k in range(len(plan.subsets))]
    if len({len(values) for one in scores for values in one[1:]}) > 1:
        raise InputError(f"{paths[0].parent}: variants have AP of different classes; run the step `variant` for all")
    return VariantScores(*(np.array(values) for values in zip(*scores, strict=True)))


class _Variant(NamedTuple):
    """A row of `VariantScores`."""

    value: float
    class_map: list[float]
    objects: list[float]


def _read_variants(path: Path, plan: SubsetPlan) -> Iterator[tuple[int, _Variant]]:
    content = read_json(path)
    try:
        found = [
            (
                one["variant"],
                one["images"],
                one["map"],
                list(one["class_map"]),
                None if one["objects"] is None else list(one["objects"]),
            )
            for one in content["variants"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold variants ({error}); run the step `variant` again") from None
    for variant, images, value, by_class, objects in found:
        _check_variant(path, plan, variant, images, value)
        known = [None] * len(by_class) if objects is None else objects
        yield (
            variant,
            _Variant(float(value), _numbers(path, "class_map", by_class), _numbers(path, "objects", known)),
        )


def _numbers(path: Path, name: str, values: list[Any]) -> list[float]:
    if not all(one is None or isinstance(one, int | float) for one in values):
        raise InputError(f"{path}: {name} holds {values}, not numbers; run the step `variant` again")
    return [nan if one is None else float(one) for one in values]


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
