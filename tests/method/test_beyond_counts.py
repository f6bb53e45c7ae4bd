"""What MGRAL is for: where worth does not follow the number of objects, the agent learns what it follows."""

from collections import Counter

import numpy as np
from made_embeddings import made_embeddings

from mgral.config import Config, EmbeddingConfig, resolve_config
from mgral.data.dataset import Category, Dataset
from mgral.method.agent.validated import train_validated_agent
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.reward import LookupTable, RewardTable
from mgral.method.lut.table import VariantScores, table_arrays
from mgral.selection.query import select

LABELLED, SUBSETS, SIZE, BUDGET = 12, 12, 6, 8
KINDS = {"crowd": (9, 0), "rare": (0, 1), "both": (4, 1), "empty": (0, 0)}
"""Objects of two classes in an image: those of the first are many and worth less than nothing."""


def experiment(seed: int) -> tuple[Config, Dataset, np.ndarray, LookupTable]:
    """Tables of two splits in which AP falls with objects of the first class and rises with those of the second."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(4), 50)
    counts = np.array(list(KINDS.values()), float)[kinds]
    ids = np.arange(len(counts))
    order = rng.permutation(ids)
    labelled = np.sort(order[:LABELLED])
    vectors = np.eye(4)[kinds] + rng.normal(0, 0.05, (len(ids), 4))
    embeddings = made_embeddings(ids, vectors, counts, counted=labelled)
    config = resolve_config({"budget": BUDGET, "agent": {"episodes": 60}, "strategies": ["mgral", "sqrt_counts"]})
    boxes = [np.zeros((int(one.sum()), 4), np.float32) for one in counts]
    labels = [np.repeat([0, 1], one.astype(int)) for one in counts]
    classes = (Category(1, "first"), Category(2, "second"))
    dataset = Dataset(ids, tuple(map(str, ids)), np.full((len(ids), 2), 8), classes, tuple(boxes), tuple(labels))
    tables = []
    for _ in range(2):
        weights = rng.dirichlet(np.full(4, 0.3), SUBSETS)[:, kinds] + 1e-6
        subsets = [rng.choice(ids, SIZE, replace=False, p=one / one.sum()) for one in weights]
        amounts = np.array([counts[rows].mean(axis=0) for rows in subsets])
        values = 0.3 + np.sqrt(amounts) * [-0.02, 0.08] + rng.normal(0, 0.003, amounts.shape)
        maps = np.array([0.3, *values.mean(axis=1)])
        scores = VariantScores(maps, np.vstack([[0.3, 0.3], values]))
        plan = SubsetPlan("labels", "warm", (), (), ((), *(tuple(sorted(rows.tolist())) for rows in subsets)))
        arrays, _ = table_arrays(scores, plan, embeddings, EmbeddingConfig(), config.reward, seed)
        tables.append(RewardTable.of(arrays, config.reward))
    return config, dataset, labelled, LookupTable(tuple(tables), embeddings, config.embedding)


def test_mgral_is_worth_more_than_counts_where_worth_does_not_follow_counts() -> None:
    gains = []
    for seed in range(2):
        config, dataset, labelled, tables = experiment(seed)
        pool = np.setdiff1d(dataset.image_ids, labelled)
        agent, _, summary = train_validated_agent(config, tables, pool, seed)
        assert summary["p_value"] is not None
        assert summary["p_value"] <= 0.05
        given = {"embeddings": tables.embeddings, "agent": agent, "tables": tables}
        chosen = {
            name: select(name, config, dataset, labelled, seed, **given).images
            for name in ("mgral", "mgral_greedy", "sqrt_counts")
        }
        worth = dict(zip(chosen, tables.reward(np.stack(list(chosen.values()))), strict=True))
        gains.append(worth["mgral"] - worth["sqrt_counts"])
        assert worth["mgral_greedy"] >= worth["sqrt_counts"]
        kinds = Counter((chosen["mgral"] // 50).tolist())
        assert kinds[1] > BUDGET / 2  # the images that show the second class and not the first
    assert min(gains) > 0.01
