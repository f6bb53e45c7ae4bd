"""The policy against enumeration of all ordered batches, and its gradient against finite differences."""

from itertools import permutations
from math import log, sqrt

import numpy as np
import pytest
import torch

from mgral.method.agent.policy import entropy, log_probability, sample_batches
from mgral.method.agent.training import policy_loss

SCORES = torch.tensor([0.3, -1.2, 2.0, 0.0, 0.9], dtype=torch.float64)


def _all_batches(count, size):
    return torch.tensor(list(permutations(range(count), size)))


def _sequential(scores, batch):
    weights, probability = np.exp(scores.numpy()), 1.0
    left = set(range(len(weights)))
    for image in batch.tolist():
        probability *= weights[image] / weights[sorted(left)].sum()
        left.remove(image)
    return probability


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_log_probability_is_the_sequential_product_and_all_batches_add_up_to_one(size):
    batches = _all_batches(5, size)
    found = log_probability(SCORES, batches).exp()
    np.testing.assert_allclose(found, [_sequential(SCORES, batch) for batch in batches], rtol=1e-10)
    assert float(found.sum()) == pytest.approx(1)


def test_a_shift_of_all_scores_changes_nothing_even_a_large_one():
    batches = _all_batches(5, 3)
    torch.testing.assert_close(log_probability(SCORES + 1000, batches), log_probability(SCORES, batches))
    spread = torch.tensor([200.0, -200.0, 0.0], requires_grad=True)
    value = log_probability(spread, torch.tensor([[1, 2]]))
    value.sum().backward()
    assert float(value.detach()) == pytest.approx(-600, rel=1e-6)
    assert torch.isfinite(spread.grad).all()


@pytest.mark.parametrize("size", [2, 4])
def test_expected_policy_gradient_is_the_gradient_of_the_expected_reward(size):
    scores = SCORES[:4].clone().requires_grad_()
    batches = _all_batches(4, size)
    rewards = torch.tensor([float((batch * torch.arange(size, 0, -1)).sum() % 7) for batch in batches]).double()
    weights = log_probability(scores.detach(), batches).exp()
    # The mean over samples, with each batch as often as it is drawn; any reference leaves it as it is.
    (policy_loss(scores, batches, (rewards - 2.5) * weights) * len(batches)).backward()

    def expected(values):
        return float((log_probability(values, batches).exp() * rewards).sum())

    step = 1e-5 * torch.eye(4, dtype=torch.float64)
    differences = [(expected(scores.detach() + e) - expected(scores.detach() - e)) / 2e-5 for e in step]
    assert max(abs(d) for d in differences) > 0.1
    np.testing.assert_allclose(-scores.grad, differences, atol=1e-7)


def test_batches_are_drawn_as_often_as_their_probability_says():
    draws = 20000
    found = sample_batches(SCORES, 2, draws, torch.Generator().manual_seed(0))
    batches = _all_batches(5, 2)
    counts = np.array([int((found == batch).all(dim=1).sum()) for batch in batches])
    assert counts.sum() == draws
    expected = draws * log_probability(SCORES, batches).exp().numpy()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    # Chi-square with 19 degrees of freedom: mean 19, standard deviation sqrt(38).
    assert statistic < 19 + 4 * sqrt(38)


def test_a_batch_has_no_image_twice_and_follows_the_seed():
    first, again, other = (
        sample_batches(torch.zeros(30), 12, 50, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert all(len(set(batch.tolist())) == 12 for batch in first)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_entropy_of_the_first_draw():
    assert float(entropy(torch.zeros(8))) == pytest.approx(log(8))
    assert float(entropy(torch.tensor([2.0, 2.0]).log())) == pytest.approx(log(2))
    assert float(entropy(torch.tensor([1.0, 3.0]).log())) == pytest.approx(-0.25 * log(0.25) - 0.75 * log(0.75))
