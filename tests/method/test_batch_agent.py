"""The agent that sees its batch: its probabilities, what it learns, and what it chooses."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from made_embeddings import made_embeddings
from stopping import StoppedError, stop_after

from mgral.artefacts.files import write_arrays
from mgral.config import AgentConfig
from mgral.errors import StepError
from mgral.method.agent.batch_agent import build_batch_agent, choose_batch, draw_batches, log_probabilities
from mgral.method.agent.batch_training import train_batch_agent
from mgral.method.agent.network import load_agent
from mgral.method.greedy import choose_greedily
from mgral.method.lut.composition import FEATURES, Composition
from mgral.method.lut.learned import LearnedReward
from mgral.training.checkpoint import Checkpoint

SHORT = AgentConfig(episodes=6, samples=4, hidden=8)


class Made(NamedTuple):
    """A reward of what amounts of images come to."""

    pool: np.ndarray
    of: object

    def worth(self, amounts):
        return 0.3 + self.of(amounts)

    def worth_with_each(self, totals, rows):
        return self.worth(totals[:, None] + self.pool[rows])

    def lookup(self, batches):
        return self.worth(self.pool[batches].sum(axis=1, dtype=np.float64))

    def with_each(self, rows, tried):
        return self.worth(self.pool[rows].sum(axis=0, dtype=np.float64) + self.pool[tried])


def diminishing(count=150, seed=0):
    """A pool whose amounts are random, each of which is worth its square root."""
    rng = np.random.default_rng(seed)
    pool = rng.exponential(size=(count, 4)).astype(np.float32)
    vectors = np.column_stack([pool, rng.normal(size=(count, 6))]).astype(np.float32)
    return vectors, Made(pool, lambda amounts: 0.01 * np.sqrt(1 + amounts).sum(axis=-1))


def pairs(seed=0):
    """A pool in which an image of kind 0 and one of kind 1 are worth much together, and little alone."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(3, 150, p=[0.2, 0.2, 0.6])
    alone = np.where(kinds == 2, rng.random(150), 0.3)
    pool = np.column_stack([np.eye(3)[kinds], alone]).astype(np.float32)
    vectors = (np.eye(3)[kinds] @ rng.normal(size=(3, 8)) * 2 + rng.normal(size=(150, 8))).astype(np.float32)

    def of(amounts):
        return 0.001 * amounts[..., 3] + 0.003 * np.minimum(amounts[..., 0], amounts[..., 1])

    return vectors, Made(pool, of), kinds


def untrained(vectors, seed=0, hidden=8):
    return build_batch_agent(vectors, hidden, torch.Generator().manual_seed(seed))


def shaken(agent, seed=0):
    """The agent with weights of all layers that differ from those of an untrained one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return agent


def mean_reward(agent, vectors, reward, size, count=64):
    """What batches are worth that are drawn from the pool as an agent scores it."""
    rows = np.arange(len(vectors))
    encoded = agent.encode(torch.from_numpy(vectors))
    uniform = torch.rand(size, count, len(vectors), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return draw_batches(agent, reward, rows, encoded, uniform).worth[-1].mean()


def scores_by_hand(agent, vectors, reward, batch, candidates=None):
    """The score of each image given a batch, in float64 and without the agent's own functions.

    Gains are standardised over the candidates that are left; of the pool unless given.
    """
    weights = {name: one.double().numpy() for name, one in agent.state_dict().items()}
    e = (vectors - weights["mean"]) / weights["deviation"]
    unit = e / np.linalg.norm(e, axis=1, keepdims=True)
    totals = reward.pool[batch].sum(axis=0, dtype=np.float64)
    gains = reward.worth(totals + reward.pool) - reward.worth(totals)
    left = np.setdiff1d(np.arange(len(e)) if candidates is None else candidates, batch)
    gains = (gains - gains[left].mean()) / gains[left].std()
    similarity = (unit @ unit[batch].T).max(axis=1) if len(batch) else np.zeros(len(e))
    inputs = np.column_stack([e, gains, similarity])
    first = np.column_stack([weights["images.weight"], weights["state.weight"]])
    inner = np.maximum(inputs @ first.T + weights["images.bias"], 0)
    return np.exp(weights["log_sharpness"]) * gains + inner @ weights["last.weight"][0]


def test_log_probabilities_of_drawn_batches_are_those_of_a_softmax_over_what_is_left():
    vectors, reward = diminishing(20)
    agent = shaken(untrained(vectors))
    candidates = np.array([3, 17, 0, 8, 11, 5, 19])
    encoded = agent.encode(torch.from_numpy(vectors[candidates]))
    uniform = torch.rand(4, 5, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    drawn = draw_batches(agent, reward, candidates, encoded, uniform)
    found = log_probabilities(agent, encoded.hidden, drawn, torch.arange(4)).detach().numpy()
    for batch in range(5):
        rows = candidates[drawn.picks[:, batch].numpy()]
        assert len(set(rows.tolist())) == 4
        for step in range(4):
            left = np.setdiff1d(candidates, rows[:step])
            scores = scores_by_hand(agent, vectors, reward, rows[:step], candidates)
            expected = scores[rows[step]] - np.log(np.exp(scores[left]).sum())
            assert found[step, batch] == pytest.approx(expected, abs=1e-4)
            assert drawn.worth[step, batch] == pytest.approx(reward.lookup(rows[None, :step])[0])


def test_images_are_drawn_as_often_as_their_probability_says():
    vectors, reward = diminishing(6)
    agent = shaken(untrained(vectors))
    draws = 20000
    uniform = torch.rand(1, draws, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    drawn = draw_batches(agent, reward, np.arange(6), agent.encode(torch.from_numpy(vectors)), uniform)
    expected = draws * torch.from_numpy(scores_by_hand(agent, vectors, reward, np.array([], int))).softmax(0).numpy()
    counts = np.bincount(drawn.picks[0].numpy(), minlength=6)
    # Chi-square with 5 degrees of freedom: mean 5, standard deviation 3.2.
    assert ((counts - expected) ** 2 / expected).sum() < 5 + 4 * 3.2


def test_it_chooses_the_highest_score_given_the_batch_so_far():
    vectors, reward = diminishing(30)
    agent = shaken(untrained(vectors))
    choice = choose_batch(agent, reward, vectors, 6, 0, 0)
    for place, row in enumerate(choice.rows):
        scores = scores_by_hand(agent, vectors, reward, choice.rows[:place])
        scores[choice.rows[:place]] = -np.inf
        assert row == scores.argmax()
        assert choice.scores[place] == pytest.approx(scores[row], abs=1e-4)


def test_of_near_copies_that_are_each_best_alone_it_takes_one():
    """Rows 0 and 1 are almost the same picture of the rarest kind."""
    rng = np.random.default_rng(0)
    pool = np.column_stack([np.zeros((40, 1)), rng.uniform(0.2, 0.6, (40, 3))]).astype(np.float32)
    pool[:2] = [3, 0.1, 0.1, 0.1]
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    vectors[1] = vectors[0] + 0.01
    reward = Made(pool, lambda amounts: 0.01 * (np.minimum(amounts[..., 0], 3) + amounts[..., 1:].sum(axis=-1)))
    assert set(np.argsort(-reward.worth(pool.astype(float)))[:2].tolist()) == {0, 1}
    agent, _ = train_batch_agent(vectors, reward, AgentConfig(episodes=30), 4, 0, 0)
    chosen = choose_batch(agent, reward, vectors, 4, 0, 0).rows
    assert len({0, 1} & set(chosen.tolist())) == 1
    # With one of them in the batch the other is worth less than every image that is still left.
    given = scores_by_hand(agent, vectors, reward, np.array([0]))
    alone = scores_by_hand(agent, vectors, reward, np.array([], int))
    assert alone[1] > alone[2:].max()
    assert given[1] < given[2:].min()


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_finds_pairs_that_greedy_choice_does_not(seed):
    vectors, reward, kinds = pairs(seed)
    agent, log = train_batch_agent(vectors, reward, AgentConfig(), 10, 0, 0)
    before = mean_reward(untrained(vectors, hidden=32), vectors, reward, 10)
    after = mean_reward(agent, vectors, reward, 10)
    greedy = choose_greedily(reward, len(vectors), 10, np.random.default_rng(0)).rows
    chosen = choose_batch(agent, reward, vectors, 10, 0, 0).rows
    most = 5 * 0.003 + 10 * 0.3 * 0.001
    assert (kinds[greedy] == 2).all()
    assert after - 0.3 > 1.5 * (before - 0.3)
    assert log[-1].reward > log[0].reward
    assert reward.lookup(chosen[None])[0] - 0.3 >= 0.95 * most
    assert reward.lookup(greedy[None])[0] - 0.3 < 0.6 * most


def learned(seed=0, count=160):
    """A learned reward of three classes; the vectors are what it is computed from, and noise."""
    rng = np.random.default_rng(seed)
    counts = rng.exponential(rng.uniform(0.2, 1.5, 3), (count, 3))
    embeddings = made_embeddings(np.arange(count), np.column_stack([counts, rng.normal(size=(count, 5))]), counts)
    composition = Composition.of(embeddings)
    weights = np.abs(rng.normal(size=(3, len(FEATURES)))) * 0.02
    vectors = embeddings.components[40:]
    return vectors, LearnedReward(
        0.3, weights, composition, composition.totals(np.arange(40)), composition.of_images(np.arange(40, count))
    )


def test_the_more_a_batch_holds_the_less_images_add_but_scores_keep_their_spread():
    """Or the network, whose weights do not know how large the batch is, would outweigh the gains of its end."""
    vectors, reward = diminishing()
    agent = untrained(vectors)
    spread = [scores_by_hand(agent, vectors, reward, np.arange(size)).std() for size in (0, 100)]
    gains = [reward.with_each(np.arange(size), np.arange(100, 150)).std() for size in (0, 100)]
    assert gains[1] < 0.2 * gains[0]
    chosen = choose_batch(agent, reward, vectors, 120, 0, 0)
    assert spread[1] > 0.5 * spread[0]
    assert chosen.scores[100] > 0.3 * chosen.scores[0]


@pytest.mark.parametrize("seed", range(2))
def test_on_a_learned_reward_its_batch_is_worth_what_a_greedy_one_is(seed):
    vectors, reward = learned(seed)
    agent, _ = train_batch_agent(vectors, reward, AgentConfig(), 16, seed, 0)
    chosen = choose_batch(agent, reward, vectors, 16, seed, 0).rows
    greedy = choose_greedily(reward, len(vectors), 16, np.random.default_rng(0)).rows
    found, most = reward.lookup(np.stack([chosen, greedy])) - reward.baseline_map
    assert found >= 0.98 * most


def arrays_of(trained):
    return {name: array.tobytes() for name, array in trained.arrays().items()}


def test_the_same_seed_makes_the_same_bytes_also_after_a_stop(tmp_path, monkeypatch):
    vectors, reward = diminishing()
    agent, log = train_batch_agent(vectors, reward, SHORT, 12, 0, 0)
    again, of_again = train_batch_agent(vectors, reward, SHORT, 12, 0, 0)
    other, _ = train_batch_agent(vectors, reward, SHORT, 12, 1, 0)
    assert (arrays_of(again), of_again) == (arrays_of(agent), log)
    assert arrays_of(other) != arrays_of(agent)
    for stop in (1, 4):
        path = tmp_path / f"{stop}.checkpoint"
        with stop_after(stop, monkeypatch), pytest.raises(StoppedError):
            train_batch_agent(vectors, reward, SHORT, 12, 0, 0, Checkpoint(path, "job", every=0))
        resumed, of_resumed = train_batch_agent(vectors, reward, SHORT, 12, 0, 0, Checkpoint(path, "job"))
        assert (arrays_of(resumed), of_resumed) == (arrays_of(agent), log)


def test_it_is_read_as_it_was_written(tmp_path):
    vectors, reward = diminishing(30)
    agent = shaken(untrained(vectors))
    path = tmp_path / "agent.safetensors"
    write_arrays(path, agent.arrays())
    read = load_agent(path)
    assert arrays_of(read) == arrays_of(agent)
    assert choose_batch(read, reward, vectors, 6, 0, 0).rows.tolist() == (
        choose_batch(agent, reward, vectors, 6, 0, 0).rows.tolist()
    )


def test_the_log_holds_what_the_batches_of_an_episode_are_worth():
    vectors, reward = diminishing()
    _, log = train_batch_agent(vectors, reward, SHORT, 12, 0, 0)
    assert [one.episode for one in log] == list(range(1, 7))
    for one in log:
        assert one.baseline == one.reward <= one.best
        assert one.random_reward < one.reward
        assert 0 < one.entropy < np.log(128)
    assert (np.diff([one.best for one in log]) >= 0).all()


def test_a_pool_of_the_batchs_size_and_a_reward_without_differences_are_no_error():
    vectors, reward = diminishing(12)
    agent, _ = train_batch_agent(vectors, reward, SHORT, 12, 0, 0)
    assert sorted(choose_batch(agent, reward, vectors, 12, 0, 0).rows.tolist()) == list(range(12))
    flat = Made(reward.pool, lambda amounts: 0 * amounts[..., 0])
    agent, log = train_batch_agent(vectors, flat, SHORT, 5, 0, 0)
    assert all(np.isfinite(array).all() for array in agent.arrays().values())
    assert log[-1].reward == 0.3


def test_a_loss_that_is_not_finite_is_an_error_naming_the_episode():
    vectors, reward = diminishing()
    with pytest.raises(StepError, match="agent: the loss is nan in episode 1"):
        train_batch_agent(vectors, Made(reward.pool, lambda a: np.nan * a[..., 0]), SHORT, 5, 0, 0)


class Counting:
    """A reward that counts the sets of images that it is asked for."""

    def __init__(self, pool):
        self.pool, self.asked, self.most = pool, 0, 0

    def worth(self, amounts):
        sets = amounts[..., 0].size
        self.asked, self.most = self.asked + sets, max(self.most, sets)
        return np.sqrt(1 + amounts).sum(axis=-1)

    def worth_with_each(self, totals, rows):
        return self.worth(totals[:, None] + self.pool[rows])

    def lookup(self, batches):
        return self.worth(self.pool[batches].sum(axis=1, dtype=np.float64))


def test_a_large_pool_takes_no_longer_to_learn_from_and_is_tried_in_part(monkeypatch):
    rng = np.random.default_rng(0)
    pool = rng.exponential(size=(20000, 3)).astype(np.float32)
    vectors = rng.normal(size=(20000, 4)).astype(np.float32)
    reward = Counting(pool)
    agent, _ = train_batch_agent(vectors, reward, AgentConfig(episodes=2, samples=3), 300, 0, 0)
    # Batches of at most 10 images, from 64.
    assert reward.asked <= 2 * (3 + 3 + 10 * 3 * 64)
    monkeypatch.setattr("mgral.method.greedy.TRIED_IMAGES", 30000)
    reward.asked = reward.most = 0
    chosen = choose_batch(agent, reward, vectors, 300, 0, 0).rows
    assert len(set(chosen.tolist())) == 300
    assert reward.asked <= 30000
    assert reward.most <= 100
    assert reward.lookup(chosen[None])[0] > 1.2 * reward.lookup(np.arange(300)[None])[0]
