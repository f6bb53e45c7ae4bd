"""The lookup table of a reward split, made from the scores of its variants."""

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
from mgral.method.lut.by_distance import SubsetDistance
from mgral.method.lut.composition import Composition
from mgral.method.lut.estimators import estimators_of, leave_one_out, median_distances
from mgral.method.lut.learned import as_sample, training_features
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.regression import predict_maps_left_out
from mgral.method.lut.wasserstein import SlicedDistance, draw_projections, project_and_sort
from mgral.selection.embeddings import Embeddings, Scale


class Variant(NamedTuple):
    """A trained variant: its subset, and its scores on the reward images, 0 to 1."""

    variant: int
    """Number of its subset, 0..K; subset 0 is empty."""
    images: int
    """Number of images in its subset."""
    map: float
    ap50: float
    class_map: list[float | None]
    """AP of each class, [C]; None if no reward image shows the class."""


class VariantScores(NamedTuple):
    """Scores of the variants 0..K on the reward images, 0 to 1."""

    maps: npt.NDArray[np.float64]
    """mAP, float64 [K + 1], finite."""
    class_maps: npt.NDArray[np.float64]
    """AP of each class, float64 [K + 1, C]; NaN if no reward image shows the class."""

    @classmethod
    def of(cls, variants: Sequence[Variant]) -> "VariantScores":
        """Collect the scores of the variants 0..K, given in this order."""
        maps, class_maps = [variant.map for variant in variants], [variant.class_map for variant in variants]
        return cls(np.array(maps, dtype=np.float64), np.array(class_maps, dtype=np.float64))


def load_variants(paths: Sequence[Path], plan: SubsetPlan) -> VariantScores:
    """Return the scores of the variants 0..K; their files may be given in any order.

    Raises
    ------
    InputError
        If a variant is missing, given twice, not in the plan, or without a finite mAP.
    SparseError
        If a file contains a reason why there are no variants.
    """
    by_number: dict[int, tuple[Path, Variant]] = {}
    for path in paths:
        for variant in _read_variants(path, plan):
            if variant.variant in by_number:
                raise InputError(
                    f"{path} and {by_number[variant.variant][0]} both contain variant {variant.variant}; give each "
                    "variant once"
                )
            by_number[variant.variant] = (path, variant)
    missing = [k for k in range(len(plan.subsets)) if k not in by_number]
    if missing:
        raise InputError(f"variants {missing} are missing; run the step `variant` for each and give its file")
    variants = [by_number[k][1] for k in range(len(plan.subsets))]
    if len({len(variant.class_map) for variant in variants}) > 1:
        raise InputError(f"{paths[0].parent}: variants have AP of different classes; run the step `variant` for all")
    return VariantScores.of(variants)


def _read_variants(path: Path, plan: SubsetPlan) -> Iterator[Variant]:
    content = read_json(path)
    if isinstance(content, dict) and REASON in content:
        raise SparseError(content[REASON])
    try:
        variants = [
            Variant(entry["variant"], entry["images"], entry["map"], entry["ap50"], list(entry["class_map"]))
            for entry in content["variants"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} does not contain variants ({error}); run the step `variant` again") from None
    for variant in variants:
        _check_variant(path, plan, variant)
        yield variant


def _check_variant(path: Path, plan: SubsetPlan, variant: Variant) -> None:
    if not isinstance(variant.variant, int) or not 0 <= variant.variant < len(plan.subsets):
        raise InputError(
            f"{path}: variant {variant.variant} is not among 0..{len(plan.subsets) - 1} of the plan; leave the file "
            "out"
        )
    if variant.images != len(plan.subsets[variant.variant]):
        raise InputError(
            f"{path}: trained on a subset of {variant.images} images, but the plan gives variant {variant.variant} "
            f"{len(plan.subsets[variant.variant])}; run the step `variant` again"
        )
    if not isinstance(variant.map, int | float) or not isfinite(variant.map):
        raise InputError(f"{path}: map is {variant.map}, not a number; run the step `variant` again")
    if not all(value is None or isinstance(value, int | float) for value in variant.class_map):
        raise InputError(f"{path}: class_map is {variant.class_map}, not numbers; run the step `variant` again")


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
        If the embeddings have fewer classes than the scores of the variants.
    """
    table: dict[str, npt.NDArray[Any]] = {"map": scores.maps[1:], "baseline_map": scores.maps[:1]}
    if reward.distance == "by_class":
        classes = _measured_classes(scores, embeddings)
        table |= {"classes": classes, "values": scores.class_maps[1:, classes]}
        table |= count_arrays(plan.images, classes, embeddings)
        table["base"] = np.array(plan.base, dtype=np.int64)
        table |= training_features(table, Composition.of(embeddings))
    else:
        vectors = embeddings.features_of(plan.images, embedding).vectors
        rng = np.random.default_rng(derive_seed(seed, "projections"))
        projections = draw_projections(vectors.shape[2], reward.projections, rng)
        table |= {"embeddings": vectors, "projections": projections, "values": scores.maps[1:, None]}
        table["sorted"] = project_and_sort(vectors, projections)
        table["kernel_widths"] = _widths(subset_distance(table, reward.distance))
    values, widths, distance = table["values"], table["kernel_widths"], subset_distance(table, reward.distance)
    pairwise = distance(distance.subsets)
    predicted = {
        "nearest": leave_one_out(pairwise, values, "nearest", widths),
        "kernel": leave_one_out(pairwise, values, "kernel", widths),
    }
    if reward.distance == "by_class":
        predicted["regression"] = predict_maps_left_out(as_sample(table))
    return table, _leave_one_out_rows(scores, predicted)


def count_arrays(
    images: npt.NDArray[np.int64], classes: npt.NDArray[np.int64], embeddings: Embeddings
) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that a table with `reward.distance: by_class` has in addition: they depend on object counts.

    The counts of the subsets come from the embeddings, like those of a batch, even if variants learnt from
    pseudo-labels. So both are on one scale.

    Parameters
    ----------
    images
        Ids of the images of the subsets, int64 [K, M]; see `SubsetPlan.images`.
    classes
        Classes that have an AP in every variant, int64 [G].
    """
    scale, counts = Scale.of(embeddings.counts), embeddings.counts_of(images)
    arrays: dict[str, npt.NDArray[Any]] = {"images": images, "classes": classes, "counts": counts}
    arrays |= {"count_zero": scale.zero, "count_unit": scale.unit, "count_mean": scale.mean}
    distance = subset_distance(arrays, "by_class")
    arrays["kernel_widths"] = _widths(distance)
    return arrays


def _widths(distance: SubsetDistance) -> npt.NDArray[np.float64]:
    return median_distances(distance(distance.subsets))


def leave_one_out_columns(distance: Distance) -> tuple[str, ...]:
    """Return the columns of `leave_one_out.csv`."""
    return ("variant", "baseline", "measured", *estimators_of(distance))


def count_scale(table: Mapping[str, npt.NDArray[Any]]) -> Scale:
    """Return the scale of the object counts of a table with `reward.distance: by_class`, given its arrays."""
    return Scale(table["count_zero"], table["count_unit"], table["count_mean"])


def subset_distance(table: Mapping[str, npt.NDArray[Any]], kind: Distance) -> SubsetDistance:
    """Return the distance to the subsets of a table, given its arrays; with `by_class` it compares scaled counts."""
    if kind == "by_class":
        scaled = count_scale(table).apply(table["counts"])[..., table["classes"]]
        return SubsetDistance(scaled, SlicedDistance(None, np.sort(scaled, axis=1)), kind)
    return SubsetDistance(table["embeddings"], SlicedDistance(table["projections"], table["sorted"]), kind)


def _measured_classes(scores: VariantScores, embeddings: Embeddings) -> npt.NDArray[np.int64]:
    """Return the classes that have an AP in every variant, int64 [G]."""
    classes = np.flatnonzero(np.isfinite(scores.class_maps).all(axis=0))
    class_count = embeddings.counts.shape[1]
    if len(classes) and classes.max() >= class_count:
        raise InputError(
            f"{embeddings.path} has counts of {class_count} classes, but variants have an AP of class "
            f"{classes.max()}; run the step `embed` again"
        )
    return classes


def _leave_one_out_rows(
    scores: VariantScores, predicted: dict[str, npt.NDArray[np.float64]]
) -> list[dict[str, float]]:
    """Return one row for each variant 1..K; `baseline` is the mAP of variant 0 in every row."""
    baseline, *measured = scores.maps.tolist()
    return [
        {"variant": k + 1, "baseline": baseline, "measured": value}
        | {estimator: float(values[k]) for estimator, values in predicted.items()}
        for k, value in enumerate(measured)
    ]
