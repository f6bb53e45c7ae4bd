"""Forecasts of curves whose law is known: intervals cover as often as they say, and a flat curve stays flat."""

import numpy as np
import pytest

from mgral.labelling.progress.forecast import fit_law

START, BATCH = 50, 40


def curve(rng, rounds, noise, flat=False):
    """Return pictures, noisy scores, and the true law of a made curve."""
    first = rng.uniform(0.03, 0.35)
    best = first if flat else rng.uniform(first + 0.05, 0.85)
    exponent = np.exp(rng.uniform(np.log(0.2), np.log(1.5)))

    def law(pictures):
        return best - (best - first) * (START / pictures) ** exponent

    pictures = (START + BATCH * np.arange(rounds)).tolist()
    return pictures, [law(one) + rng.normal(0, noise) for one in pictures], law


def forecasts(rounds, noise, flat=False, trials=100):
    """Yield what is expected three batches on, the score that it then has, and what it truly gained."""
    rng = np.random.default_rng(rounds)
    for _ in range(trials):
        pictures, scores, law = curve(rng, rounds, noise, flat)
        then = pictures[-1] + 3 * BATCH
        expected = fit_law(pictures, scores, 0.0).at(then, pictures[-1])
        yield expected, law(then) + rng.normal(0, noise), law(then) - law(pictures[-1])


@pytest.mark.parametrize("rounds", [3, 5, 8])
def test_intervals_cover_as_often_as_they_say(rounds):
    found = list(forecasts(rounds, noise=0.015))
    covered = np.mean([one.interval.low <= score <= one.interval.high for one, score, _ in found])
    gained = np.mean([one.gain_interval.low <= gain <= one.gain_interval.high for one, _, gain in found])
    assert covered >= 0.9
    assert gained >= 0.85
    # Not because they are endless: a forecast says something, and more with more rounds.
    widths = [one.interval.high - one.interval.low for one, *_ in found]
    assert np.mean(widths) < {3: 0.16, 5: 0.12, 8: 0.095}[rounds]


def test_a_flat_curve_gains_little_and_a_steep_one_much():
    flat = [expected for expected, *_ in forecasts(8, noise=0.01, flat=True, trials=30)]
    assert np.mean([one.gain for one in flat]) < 0.004
    assert np.mean([one.gain_interval.high < 0.01 for one in flat]) > 0.7
    # 0.6 - 0.5 * (50 / pictures)^0.5
    steep = fit_law([50, 90, 130, 170], [0.1, 0.227, 0.290, 0.329], 0.0).at(210, 170)
    assert steep.gain_interval.low > 0.005
    assert steep.score == pytest.approx(0.356, abs=0.015)


def test_errors_of_images_make_it_less_sure():
    pictures, scores = [50, 90, 130, 170], [0.1, 0.2, 0.27, 0.33]
    sure, unsure = (fit_law(pictures, scores, scatter).at(290, 170) for scatter in (0.0, 0.03))
    assert unsure.interval.high - unsure.interval.low > 1.2 * (sure.interval.high - sure.interval.low)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_scores_at_the_ends_stay_there(score):
    law = fit_law([50, 90, 130], [score] * 3, 0.0)
    expected = law.at(250, 130)
    assert expected.interval.low - 1e-6 <= score <= expected.interval.high + 1e-6
    assert abs(expected.score - score) < 0.03
    assert 0 <= expected.gain < 0.03


def test_more_labels_never_make_it_worse_and_no_score_is_above_one():
    law = fit_law([50, 90, 130], [0.99, 0.97, 0.98], 0.0)
    near, far = law.at(170, 130), law.at(10_000, 130)
    assert 0 <= near.gain <= far.gain
    assert far.interval.high <= 1
    assert law.at(130, 130).gain == 0


def test_pictures_until_a_target():
    law = fit_law([50, 100, 200, 400], [0.3, 0.4, 0.47, 0.52], 0.0)
    low, middle, high = law.needed(0.54)
    assert 400 <= low < middle < high
    # The median law has the target as its score there.
    assert law.at(round(middle), 400).score == pytest.approx(0.54, abs=0.004)
    assert law.needed(0.2) == (400, 400, 400)
    assert law.needed(0.999)[1] == np.inf


def test_the_order_of_rounds_is_nothing_to_it():
    forward, backward = (fit_law([50, 90, 130][::step], [0.1, 0.2, 0.25][::step], 0.01) for step in (1, -1))
    assert forward.at(170, 130).score == pytest.approx(backward.at(170, 130).score)


def test_no_forecast_of_two_numbers_of_pictures():
    assert fit_law([50, 90], [0.1, 0.2], 0.0) is None
    assert fit_law([50, 90, 90], [0.1, 0.2, 0.21], 0.0) is None
