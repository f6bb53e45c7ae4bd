"""What is learned from variants: weights of the right signs, nothing from noise, and the algebra behind it."""

import numpy as np
import pytest

from mgral.method.lut.composition import FEATURES
from mgral.method.lut.regression import (
    ERROR_RATE,
    LEAST,
    Sample,
    learn,
    predict_left_out,
    predict_maps_left_out,
    solve,
)

VARIANTS, CLASSES, F = 16, 3, len(FEATURES)
IMAGES, CROWDING, VARIETY = range(F)


@pytest.fixture(autouse=True)
def _fewer_permutations(monkeypatch):
    monkeypatch.setattr("mgral.method.lut.regression.REGRESSION_PERMUTATIONS", 39)


def samples_of(seed, weights, noise=0.01, tables=2, of_size=0.05):
    """Tables of variants of 20 to 80 images, whose AP is a line in the features, [C, F] or [F], and noise."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(tables):
        images = np.geomspace(20, 80, VARIANTS).round()
        share = rng.dirichlet(np.full(CLASSES, 1.0), VARIANTS)
        objects_each = rng.uniform(1, 6, (VARIANTS, CLASSES))
        shown = images[:, None] * share
        objects = shown * objects_each
        crowding = np.log1p(objects.sum(axis=1) / images)[:, None]
        variety = rng.uniform(0, 1.5, (VARIANTS, 1))
        features = np.stack(np.broadcast_arrays(np.log1p(shown), crowding, variety), axis=-1)
        values = 0.2 + of_size * np.log(images)[:, None] + (features * weights).sum(axis=-1)
        found.append(Sample(features, values + rng.normal(0, noise, values.shape), images))
    return found


def learned(samples):
    return learn(samples, CLASSES, F)


def test_presence_is_worth_something_and_crowding_costs():
    found = learned(samples_of(0, [0.04, -0.06, 0]))
    assert found.valid
    of_all = found.weights.mean(axis=0)
    assert of_all[IMAGES] > 0 > of_all[CROWDING]
    # Two batches that show a class in as many images, one of them with three times the objects.
    sparse, crowded = (np.log1p([8, each, 0]) for each in (1, 3))
    assert (found.weights @ sparse > found.weights @ crowded).all()


def test_the_class_whose_ap_rises_more_is_worth_more():
    weights = np.zeros((CLASSES, F))
    weights[:, IMAGES] = [0.01, 0.05, 0.1]
    found = learned(samples_of(0, weights))
    more = found.weights @ (np.log1p([20, 3, 0]) - np.log1p([10, 3, 0]))
    assert more[0] < more[1] < more[2]


def test_the_variants_left_out_are_predicted():
    samples = samples_of(0, [0.04, -0.06, 0], tables=3)
    found = predict_left_out(samples)
    measured = np.concatenate([one.without_size_effect().values.mean(axis=1) for one in samples])
    np.testing.assert_allclose(found.measured, measured)
    assert np.corrcoef(found.learned, measured)[0, 1] > 0.9


def at_most(count):
    """What a share of `ERROR_RATE` exceeds in `count` cases with a chance of 1 in 1000."""
    return count * ERROR_RATE + 3.1 * np.sqrt(count * ERROR_RATE * (1 - ERROR_RATE))


@pytest.mark.parametrize(("tables", "cases"), [(1, 25), (2, 60)])
def test_values_without_any_relation_are_rarely_valid_and_the_prior_is_used(tables, cases):
    """Nor is what the number of images alone explains taken for what the features do."""
    found = [learned(samples_of(seed, np.zeros(F), tables=tables)) for seed in range(cases)]
    assert sum(one.valid for one in found) <= at_most(cases)
    for one in found:
        if not one.valid:
            assert (one.weights[:, IMAGES] == one.weights[0, IMAGES]).all()
            assert one.weights[0, IMAGES] >= LEAST
            assert not one.weights[:, [CROWDING, VARIETY]].any()


def test_of_few_variants_a_permutation_that_changes_nothing_counts_as_good():
    """Of three variants one permutation in six is the order as it was, so a smaller p-value would be rounding."""
    for seed in range(10):
        (sample,) = samples_of(seed, [0.04, -0.06, 0], noise=0, tables=1)
        few = Sample(sample.features[:3], sample.values[:3], sample.images[:3])
        assert learned([few]).p_value > 0.1


def test_of_a_single_variant_nothing_is_learned():
    (sample,) = samples_of(0, [0.04, -0.06, 0], tables=1)
    found = learned([Sample(sample.features[:1], sample.values[:1], sample.images[:1])])
    assert found.p_value == 1


def test_the_prior_has_the_slope_that_map_has_over_the_images_of_a_class():
    """Variants of one class and of alike sets, whose AP rises by 0.3 or falls with the logarithm of their images."""
    images = np.geomspace(20, 80, 6)
    features = np.zeros((6, CLASSES, F))
    features[:, :, IMAGES] = np.log(images)[:, None]
    for slope, expected in ((0.3, 0.3), (-0.3, LEAST)):
        found = learned([Sample(features, slope * features[:, :, IMAGES], images)])
        assert not found.valid
        np.testing.assert_allclose(found.weights, expected * np.eye(F)[[IMAGES] * CLASSES])


def test_ap_that_rises_with_the_number_of_images_alone_leaves_nothing_to_learn():
    (sample,) = samples_of(0, np.zeros(F), noise=0, tables=1, of_size=0.3)
    np.testing.assert_allclose(sample.without_size_effect().values, 0, atol=1e-12)


def test_without_a_table_the_prior_is_used():
    found = learned([])
    assert not found.valid
    np.testing.assert_array_equal(found.weights, LEAST * np.eye(F)[[IMAGES] * CLASSES])


def test_a_class_that_no_table_measured_has_the_weights_that_all_share(monkeypatch):
    monkeypatch.setattr("mgral.method.lut.regression.PENALTIES", ((3.0, 300.0),))
    weights = np.zeros((CLASSES, F))
    weights[:, IMAGES] = [0.04, 0.08, 0.5]
    samples = samples_of(0, weights)
    for one in samples:
        one.values[:, 2] = np.nan
    found = learned(samples)
    assert found.valid
    first, second, unmeasured = found.weights @ np.log1p([20, 3, 0])
    assert first < unmeasured < second
    for one in samples:
        one.features[:, 2] *= 7
    np.testing.assert_allclose(learned(samples).weights, found.weights)


def test_a_class_that_some_tables_measured_is_learned_from_those():
    weights = np.zeros((CLASSES, F))
    weights[:, IMAGES] = [0.04, 0.04, 0.12]
    samples = samples_of(0, weights, tables=3)
    samples[0].values[:, 2] = np.nan
    found = learned(samples)
    assert found.valid
    worth = found.weights @ np.log1p([20, 3, 0])
    assert worth[2] > worth[:2].max()


def test_each_part_of_a_single_table_is_predicted_by_the_others():
    samples = samples_of(0, [0.04, -0.06, 0], noise=0.005, tables=1)
    assert learned(samples).valid
    found = predict_left_out(samples)
    assert np.corrcoef(found.learned, found.measured)[0, 1] > 0.8
    # Noise is not predicted, as it would be by a fit to all variants.
    noise = [predict_left_out(samples_of(seed, np.zeros(F), tables=1)) for seed in range(10)]
    assert np.mean([((one.learned - one.measured) ** 2).sum() / (one.measured**2).sum() for one in noise]) > 0.8


def test_the_map_of_a_variant_is_predicted_without_it():
    """In noise, what is predicted without a variant's own value does not follow it; a line fitted to all would."""
    noise = [samples_of(seed, np.zeros(F), tables=1, of_size=0)[0] for seed in range(40)]
    found = [np.corrcoef(predict_maps_left_out(one), one.values.mean(axis=1))[0, 1] for one in noise]
    assert np.mean(found) < 0.05
    (sample,) = samples_of(0, [0.04, -0.06, 0], tables=1)
    maps = sample.values.mean(axis=1)
    assert np.abs(predict_maps_left_out(sample) - maps).mean() < 0.5 * maps.std()


@pytest.mark.parametrize("factors", [[10, 1, 1], [0.1, 100, 1e-3]])
def test_the_units_of_features_do_not_matter(factors):
    samples = samples_of(0, [0.04, -0.06, 0])
    scaled = [one._replace(features=one.features * factors) for one in samples]
    found, other = learned(samples), learned(scaled)
    np.testing.assert_allclose(other.predicted.learned, found.predicted.learned, atol=1e-9)
    np.testing.assert_allclose(other.weights * factors, found.weights, rtol=1e-6)
    assert other.p_value == found.p_value


def test_the_equations_are_those_of_ridge_regression_with_shared_weights_and_deviations():
    rng = np.random.default_rng(0)
    features, values, shared, own = rng.normal(size=(9, CLASSES, F)), rng.normal(size=(9, CLASSES)), 2.0, 5.0
    blocks = [
        np.hstack([features[:, c], *(features[:, c] * (c == other) for other in range(CLASSES))])
        for c in range(CLASSES)
    ]
    penalties = np.sqrt(np.repeat([shared, own], [F, CLASSES * F]))
    design = np.vstack([*blocks, np.diag(penalties)])
    target = np.concatenate([values.T.ravel(), np.zeros(len(penalties))])
    fitted = np.linalg.lstsq(design, target)[0].reshape(1 + CLASSES, F)
    squares = np.einsum("kcf,kcg->cfg", features, features)
    products = np.einsum("kcf,kc->cf", features, values)
    np.testing.assert_allclose(solve(squares, products, shared, own), fitted[0] + fitted[1:])
