"""Ridge regression of the AP of each class on features of the images that a variant learnt from.

    AP_c of a set = a_c + b_c log(images) + sum over f of (w_f + d_cf) x_cf

Here x_cf are the features of `mgral.method.lut.composition`. The first two terms are fitted for each table and
removed from features and values beforehand, so the regression learns the differences between sets of one size.
Features are then divided by their spread over the variants. All classes share the weights w. The deviations d belong
to a class, and few variants measure them badly. Both are penalised. The penalties also shrink the predicted
differences between sets, so predictions are scaled to the measured differences of mAP by least squares. A class that
no reward image shows gets the mean weights of the others.

Cross-validation chooses the penalties with the highest correlation between predicted and measured mAP. It leaves out
the tables in turn, because they were measured on different images, or parts of the variants if there is one table.
Correlations are computed within tables, because some reward images are harder than others.

A permutation test shuffles the values among the variants of each table, and chooses the penalties anew each time. If
AP does not depend on the features, the regression passes this test in at most `ERROR_RATE` of the cases (Phipson and
Smyth 2010). If the test is not passed, the prior is used: more images of a class are better.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PENALTIES = tuple(product((3.0, 30.0, 300.0, 3e4), (30.0, 300.0, 3000.0, 3e5)))
"""Pairs to choose from: the penalty of the shared weights w, and the penalty of the deviations d."""
FOLDS = 6
"""Number of parts into which the variants are divided for cross-validation if there is only one table."""
LEAST = 0.01
"""Smallest weight of the prior, in mAP for a unit of the first feature."""
REGRESSION_PERMUTATIONS = 199
"""Number of permutations in the test of a regression."""
ERROR_RATE = 0.05
"""Largest probability that a permutation test is passed if the values do not depend on the subsets."""


class Sample(NamedTuple):
    """Features and values of the K variants of a table."""

    features: Float64
    """Features of each class, float64 [K, C, F]; the first follows from the number of images that show the class."""
    values: Float64
    """AP of each class, 0 to 1, float64 [K, C]; NaN for classes that no reward image shows."""
    images: Float64
    """Number of images that each variant was trained on, float64 [K]."""

    @property
    def size_terms(self) -> Float64:
        """One and the logarithm of the number of images, [K, 2]."""
        return np.stack([np.ones(len(self.images)), np.log(np.maximum(self.images, 1))], axis=1)

    def without_size_effect(self) -> "Sample":
        """Return the sample without what is linear in the logarithm of the number of images.

        Features and values are 0 for classes that have no AP.
        """
        projection = np.eye(len(self.size_terms)) - self.size_terms @ np.linalg.pinv(self.size_terms)
        measured: Mask = np.asarray(np.isfinite(self.values).all(axis=0))
        features = np.einsum("jk,kcf->jcf", projection, self.features) * measured[:, None]
        return Sample(features, projection @ np.where(measured, self.values, 0), self.images)


class Predicted(NamedTuple):
    """mAP of all variants of all tables, without what their number of images explains."""

    measured: Float64
    """Measured values, float64 [sum of K]."""
    learned: Float64
    """Predictions by a regression that has not seen the variant, float64 [sum of K]; see `predict_left_out`."""


class Regression(NamedTuple):
    """The regression learned from the variants of all tables, and the result of its permutation test."""

    weights: Float64
    """AP for a unit of each feature, float64 [C, F]; the prior's weights if the test is not passed."""
    predicted: Predicted
    p_value: float
    """(1 + permutations in which the shuffled values are predicted at least as well) / (1 + permutations)."""

    @property
    def valid(self) -> bool:
        """Whether the regression passed the permutation test."""
        return self.p_value <= ERROR_RATE


def learn(samples: Sequence[Sample], classes: int, features: int) -> Regression:
    """Learn the weights of the features from the variants of all tables, and test if they predict better than chance.

    If there is no table, or the test is not passed, the weights are those of the prior.

    Parameters
    ----------
    classes, features
        Numbers of classes C and features F; the weights are [C, F].
    """
    prior = np.zeros((classes, features))
    prior[:, 0] = _slope(samples)
    if not samples:
        return Regression(prior, Predicted(np.zeros(0), np.zeros(0)), 1.0)
    problem, rng = _Problem(samples), np.random.default_rng(0)
    best, correlation, predicted = problem.choose()
    shuffled_correlations = problem.cross_validate(problem.shuffled(rng))[0].max(axis=-1)
    # Of few variants some permutations are the same; their correlations differ by rounding.
    as_good = int((shuffled_correlations >= correlation - 1e-9).sum())
    p_value = (1 + as_good) / (1 + REGRESSION_PERMUTATIONS)
    weights = problem.fit(np.ones(len(problem.values), bool), problem.values)[best] / problem.unit
    measured = np.any([np.isfinite(sample.values).all(axis=0) for sample in samples], axis=0)
    if measured.any():
        weights[~measured] = weights[measured].mean(axis=0)
    return Regression(weights if p_value <= ERROR_RATE else prior, predicted, p_value)


def _slope(samples: Sequence[Sample]) -> float:
    """Return the slope of mAP over the first feature, averaged over classes and tables; at least `LEAST`.

    The effect of the number of images is not removed here.
    """
    slopes = []
    for sample in samples:
        measured = np.isfinite(sample.values).all(axis=0)
        amounts = sample.features[:, measured, 0].mean(axis=1)
        if measured.any() and np.ptp(amounts) > 0:
            slopes.append(np.polyfit(amounts, sample.values[:, measured].mean(axis=1), 1)[0])
    return max(LEAST, float(np.mean(slopes))) if slopes else LEAST


def predict_left_out(samples: Sequence[Sample]) -> Predicted:
    """Predict the variants of each table from the other tables; if there is one table, each part from the others."""
    return _Problem(samples).choose()[2]


def predict_maps_left_out(sample: Sample) -> Float64:
    """Return the mAP of each variant of one table as the others predict it, float64 [K].

    A line over the logarithm of the number of images, fitted to the others, and what the regression adds to it.
    """
    problem, maps = _Problem([sample]), np.nanmean(sample.values, axis=1)
    line = np.zeros(len(maps))
    for fold in problem.folds:
        line[fold] = sample.size_terms[fold] @ np.linalg.lstsq(sample.size_terms[~fold], maps[~fold], rcond=None)[0]
    return line + problem.choose()[2].learned


class _Problem:
    """The variants of all tables, without what their number of images explains, with features of unit spread."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        variant_counts = [len(sample.values) for sample in samples]
        residuals = [sample.without_size_effect() for sample in samples]
        measured = np.repeat([np.isfinite(sample.values).all(axis=0).sum() for sample in samples], variant_counts)
        features = np.concatenate([residual.features for residual in residuals])
        spread = np.sqrt((features**2).sum(axis=(0, 1)) / max(1, measured.sum()))
        self.unit: Float64 = np.where(spread > 1e-9, spread, np.inf)
        self.features: Float64 = features / self.unit
        self.values: Float64 = np.concatenate([residual.values for residual in residuals])
        self.classes: Float64 = np.maximum(measured, 1).astype(np.float64)
        self.tables = np.repeat(np.arange(len(samples)), variant_counts)
        folds = self.tables if len(samples) > 1 else np.arange(len(self.tables)) % FOLDS
        self.folds = [folds == fold for fold in np.unique(folds)]
        self.rows_of_tables = [self.tables == table for table in range(len(samples))]

    def choose(self) -> tuple[int, float, Predicted]:
        """Return the index of the best penalties, their correlation with mAP, and their predictions."""
        correlations, predictions = self.cross_validate(self.values)
        best = int(correlations.argmax())
        return best, float(correlations[best]), Predicted(self.mean_over_classes(self.values), predictions[best])

    def cross_validate(self, values: Float64) -> tuple[Float64, Float64]:
        """Predict each fold from the others, by each pair of penalties, given `values`, [..., K, C].

        Returns
        -------
        The correlation with mAP within tables, averaged over the tables, [..., penalties].
        The predicted mAP of all variants, [..., penalties, K].
        """
        predicted = np.zeros((*values.shape[:-2], len(PENALTIES), values.shape[-2]))
        for fold in self.folds:
            predicted[..., fold] = self._predict(fold, self.fit(~fold, values))
        maps = self.mean_over_classes(values)
        parts = [_correlation(predicted[..., rows], maps[..., None, rows]) for rows in self.rows_of_tables]
        return np.mean(parts, axis=0), predicted

    def fit(self, rows: Mask, values: Float64) -> Float64:
        """Return the weights by each pair of penalties, [..., penalties, C, F], given `values`, [..., K, C].

        They are learned from the variants that the mask `rows`, bool [K], selects.
        """
        features = self.features[rows]
        squares = np.einsum("kcf,kcg->cfg", features, features)
        products = np.einsum("kcf,...kc->...cf", features, values[..., rows, :])
        weights = np.stack([solve(squares, products, *penalties) for penalties in PENALTIES], axis=-3)
        predicted = self._predict(rows, weights)
        measured = self.mean_over_classes(values)[..., None, rows]
        scale = np.maximum((predicted * measured).sum(axis=-1), 0) / np.maximum((predicted**2).sum(axis=-1), 1e-30)
        scaled: Float64 = weights * scale[..., None, None]
        return scaled

    def _predict(self, rows: Mask, weights: Float64) -> Float64:
        """Return the mAP of the variants in a mask, bool [K], by weights [..., C, F]: [..., number of variants]."""
        features = self.features[rows]
        # Not -1, which fails if there is no variant.
        flat = features.reshape(len(features), features.shape[1] * features.shape[2])
        sums: Float64 = weights.reshape(*weights.shape[:-2], -1) @ flat.T
        return sums / self.classes[rows]

    def mean_over_classes(self, values: Float64) -> Float64:
        """Return the mean of values, [..., K, C], over the classes that have an AP: [..., K]."""
        mean: Float64 = values.sum(axis=-1) / self.classes
        return mean

    def shuffled(self, rng: np.random.Generator) -> Float64:
        """Return the values shuffled among the variants of each table, [permutations, K, C]."""
        # Sorting by the table first, and then by random numbers, shuffles within the tables.
        orders = [np.lexsort((rng.random(len(self.tables)), self.tables)) for _ in range(REGRESSION_PERMUTATIONS)]
        return self.values[np.stack(orders)]


def _correlation(predicted: Float64, measured: Float64) -> Float64:
    """Return Pearson's correlation, [...], of predictions with measured values, [..., K]; 0 if either is constant."""
    centred = predicted - predicted.mean(axis=-1, keepdims=True)
    centred_measured = measured - measured.mean(axis=-1, keepdims=True)
    norms = np.linalg.norm(centred, axis=-1) * np.linalg.norm(centred_measured, axis=-1)
    products = (centred * centred_measured).sum(axis=-1)
    correlation: Float64 = np.divide(products, norms, out=np.zeros(norms.shape), where=norms > 1e-12)
    return correlation


def solve(squares: Float64, products: Float64, shared_penalty: float, class_penalty: float) -> Float64:
    """Return the weights w + d_c, [..., C, F], that minimise the penalised squared error.

    The deviations are d_c = (A_c + p I)^-1 (b_c - A_c w), with p the class penalty. This leaves F equations
    for the shared weights w.

    Parameters
    ----------
    squares
        A_c = X^T X of the features of each class, [C, F, F].
    products
        b_c = X^T y of features and values of each class, [..., C, F].
    shared_penalty, class_penalty
        Penalty of w, and penalty of each d_c.
    """
    eye = np.eye(squares.shape[-1])
    inverse = np.linalg.inv(squares + class_penalty * eye)
    left = (squares - squares @ inverse @ squares).sum(axis=0) + shared_penalty * eye
    right = (products - np.einsum("cfg,...cg->...cf", squares @ inverse, products)).sum(axis=-2)
    shared_weights = np.linalg.solve(left, right[..., None])[..., 0]
    residuals = products - np.einsum("cfg,...g->...cf", squares, shared_weights)
    class_weights: Float64 = shared_weights[..., None, :] + np.einsum("cfg,...cg->...cf", inverse, residuals)
    return class_weights
