"""The AP of each class, learned from the variants by ridge regression on what their images are made of.

    AP_c of a set = a_c + b_c log(images) + sum over f of (w_f + d_cf) x_cf

x are the features of `mgral.method.lut.composition`. The first two terms belong to a table. They are taken out of
features and values beforehand, so that what is learned is the difference between sets of one size. Features are in
units of what then is their spread between the variants. The weights w are shared by all classes. The deviations d are
of a class, which few variants measure badly. Both are penalised. Penalties shrink differences between sets too, so
predictions are scaled to the measured differences of mAP by least squares. A class that no reward image shows gets
the mean weights of the others.

The penalties are those of the highest correlation with mAP in cross-validation: over the tables, which measured other
images, or over the variants of a single table. Correlations are within tables, as reward images differ in how hard
they are. Whether the variants tell anything is tested by shuffling them within their tables. Where values have
nothing to do with what images are made of, the correlation is as high as it was found in `ERROR_RATE` of the cases
(Phipson and Smyth 2010). The penalties are chosen anew each time, as the choice is part of the test. Where the test
is not passed, the prior is used: more images of a class are better.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PENALTIES = tuple(product((3.0, 30.0, 300.0, 3e4), (30.0, 300.0, 3000.0, 3e5)))
"""Of the shared weights and of the deviations, to choose from."""
FOLDS = 6
"""Parts of the variants of a single table that are left out in turn."""
LEAST = 0.01
"""Least weight of the prior, in mAP."""
PERMUTATIONS = 199
ERROR_RATE = 0.05
"""How often values that have nothing to do with subsets may pass for knowledge."""


class Sample(NamedTuple):
    """The variants of a table."""

    features: Float64
    """Shape [K, C, F]; the first is of the images that show a class."""
    values: Float64
    """AP of each class, [K, C], 0 to 1; NaN of classes that no reward image shows."""
    images: Float64
    """Images that each variant has learnt from, [K]."""

    def of_one_size(self) -> "Sample":
        """Return what differs between variants beyond the number of their images; 0 where a class has no AP."""
        known = np.stack([np.ones(len(self.images)), np.log(np.maximum(self.images, 1))], axis=1)
        rest = np.eye(len(known)) - known @ np.linalg.pinv(known)
        measured: Mask = np.asarray(np.isfinite(self.values).all(axis=0))
        features = np.einsum("jk,kcf->jcf", rest, self.features) * measured[:, None]
        return Sample(features, rest @ np.where(measured, self.values, 0), self.images)


class Predicted(NamedTuple):
    """Differences of mAP between the variants of a table beyond their numbers of images, [sum of K of all tables]."""

    measured: Float64
    learned: Float64
    """As they are predicted without the variant's table, or its part of a single one."""


class Regression(NamedTuple):
    """What the variants of all tables tell of the AP of each class."""

    weights: Float64
    """AP for a unit of each feature, [C, F]; of the first feature alone where the test is not passed."""
    predicted: Predicted
    p_value: float
    """Share of shuffled values that are predicted as well, in 0..1."""

    @property
    def valid(self) -> bool:
        """Whether the variants tell more than shuffled ones."""
        return self.p_value <= ERROR_RATE


def learn(samples: Sequence[Sample], classes: int, features: int, seed: int = 0) -> Regression:
    """Learn the weights, [C, F], from the variants of any number of tables; without one they are the prior's."""
    prior = np.zeros((classes, features))
    prior[:, 0] = _slope(samples)
    if not samples:
        return Regression(prior, Predicted(np.zeros(0), np.zeros(0)), 1.0)
    problem, rng = _Problem(samples), np.random.default_rng(seed)
    best, correlation, predicted = problem.choose()
    highest = [problem.cross_validate(values)[0].max() for values in problem.shuffled(rng)]
    p_value = (1 + sum(one >= correlation for one in highest)) / (1 + PERMUTATIONS)
    weights = problem.fit(np.ones(len(problem.values), bool), problem.values)[best] / problem.unit
    measured = np.any([np.isfinite(one.values).all(axis=0) for one in samples], axis=0)
    if measured.any():
        weights[~measured] = weights[measured].mean(axis=0)
    return Regression(weights if p_value <= ERROR_RATE else prior, predicted, p_value)


def _slope(samples: Sequence[Sample]) -> float:
    """Return the mAP for a unit of the first feature in the mean over the classes, `LEAST` at least."""
    slopes = [LEAST]
    for one in samples:
        measured = np.isfinite(one.values).all(axis=0)
        amounts = one.features[:, measured, 0].mean(axis=1)
        if measured.any() and np.ptp(amounts) > 0:
            slopes.append(np.polyfit(amounts, one.values[:, measured].mean(axis=1), 1)[0])
    return max(LEAST, float(np.mean(slopes[1:] or slopes)))


def predict_left_out(samples: Sequence[Sample]) -> Predicted:
    """Return what is predicted of the variants of each table, or of each part of a single one, without them."""
    return _Problem(samples).choose()[2]


class _Problem:
    """The variants of all tables, without what their numbers of images explain, and scaled."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        variants = [len(one.values) for one in samples]
        rest = [one.of_one_size() for one in samples]
        measured = np.repeat([np.isfinite(one.values).all(axis=0).sum() for one in samples], variants)
        features = np.concatenate([one.features for one in rest])
        spread = np.sqrt((features**2).sum(axis=(0, 1)) / max(1, measured.sum()))
        self.unit: Float64 = np.where(spread > 1e-9, spread, np.inf)
        self.features: Float64 = features / self.unit
        self.values: Float64 = np.concatenate([one.values for one in rest])
        self.classes: Float64 = np.maximum(measured, 1).astype(np.float64)
        self.tables = np.repeat(np.arange(len(samples)), variants)
        folds = self.tables if len(samples) > 1 else np.arange(len(self.tables)) % FOLDS
        self.folds = [folds == fold for fold in np.unique(folds)]
        self.of_tables = [self.tables == table for table in range(len(samples))]

    def choose(self) -> tuple[int, float, Predicted]:
        """Return the number of the best penalties, their correlation of mAP, and what they predict."""
        correlations, predictions = self.cross_validate(self.values)
        best = int(correlations.argmax())
        return best, float(correlations[best]), Predicted(self.of_map(self.values), predictions[best])

    def cross_validate(self, values: Float64) -> tuple[Float64, Float64]:
        """Return correlations with the mAP, [penalties], and predictions, [penalties, K], of folds that are left out.

        Correlations are averaged over the tables.
        """
        predicted = np.zeros((len(PENALTIES), len(values)))
        for fold in self.folds:
            weights = self.fit(~fold, values)
            predicted[:, fold] = np.einsum("kcf,acf->ak", self.features[fold], weights) / self.classes[fold]
        of_map = self.of_map(values)
        parts = [_correlation(predicted[:, of], of_map[of]) for of in self.of_tables]
        return np.mean(parts, axis=0), predicted

    def fit(self, rows: Mask, values: Float64) -> Float64:
        """Return the weights by all penalties, [penalties, C, F], learned from some variants, values [K, C]."""
        features, values = self.features[rows], values[rows]
        squares = np.einsum("kcf,kcg->cfg", features, features)
        products = np.einsum("kcf,kc->cf", features, values)
        weights = np.stack([solve(squares, products, *penalties) for penalties in PENALTIES])
        predicted = np.einsum("kcf,acf->ak", features, weights) / self.classes[rows]
        measured = values.sum(axis=1) / self.classes[rows]
        scale = np.maximum(predicted @ measured, 0) / np.maximum((predicted**2).sum(axis=1), 1e-30)
        found: Float64 = weights * scale[:, None, None]
        return found

    def of_map(self, values: Float64) -> Float64:
        """Return the mean over the classes that have an AP, [K], of values [K, C]."""
        mean: Float64 = values.sum(axis=1) / self.classes
        return mean

    def shuffled(self, rng: np.random.Generator) -> Iterator[Float64]:
        """Yield values in which each table's are shuffled among its variants."""
        for _ in range(PERMUTATIONS):
            # Sorted by table first, and by chance within it.
            yield self.values[np.lexsort((rng.random(len(self.tables)), self.tables))]


def _correlation(predicted: Float64, measured: Float64) -> Float64:
    """Return Pearson's correlation of predictions [A, K] with what was measured, [K]; 0 where a side is constant."""
    centred = predicted - predicted.mean(axis=1, keepdims=True)
    beside = measured - measured.mean()
    norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(beside)
    found: Float64 = np.divide(centred @ beside, norms, out=np.zeros(len(predicted)), where=norms > 1e-12)
    return found


def solve(squares: Float64, products: Float64, shared: float, own: float) -> Float64:
    """Return the weights [C, F] for sums of squares, [C, F, F], and of products, [C, F], of each class.

    A deviation is d_c = (A_c + own I)^-1 (b_c - A_c w), which leaves F equations for the shared weights w.
    """
    eye = np.eye(squares.shape[-1])
    inverse = np.linalg.inv(squares + own * eye)
    left = (squares - squares @ inverse @ squares).sum(axis=0) + shared * eye
    right = (products - np.einsum("cfg,cg->cf", squares @ inverse, products)).sum(axis=0)
    weights: Float64 = np.linalg.solve(left, right)
    rest = products - squares @ weights
    found: Float64 = weights + np.einsum("cfg,cg->cf", inverse, rest)
    return found
