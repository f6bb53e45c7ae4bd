"""What MGRAL is for: where worth does not follow the number of objects, it learns what it follows."""

from dataclasses import replace

import numpy as np
from made_embeddings import made_embeddings

from mgral.config import Config, EmbeddingConfig, resolve_config
from mgral.data.dataset import Category, Dataset
from mgral.method.agent.validated import train_validated_agent
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.plan import SubsetPlan, sizes_of
from mgral.method.lut.table import VariantScores, table_arrays
from mgral.selection.selecting import select

LABELLED, SUBSETS, BUDGET = 60, 12, 8
KINDS = {"crowd": (9, 0), "rare": (0, 1), "both": (4, 1), "empty": (0, 0)}
"""Objects of two classes in an image: those of the first are many and worth less than nothing."""


def reached(counts: np.ndarray) -> np.ndarray:
    """Return the AP of both classes of a detector that learns from these images, by their objects, [n, 2].

    It rises with the images that show the second class, and falls with objects in an image.
    """
    return 0.2 + 0.05 * np.log1p((counts[:, 1] > 0).sum()) - 0.1 * np.log1p(counts.sum() / len(counts)) * np.ones(2)


def experiment(seed: int) -> tuple[Config, Dataset, np.ndarray, LearnedTables]:
    """Tables of two splits of variants that start anew from labelled images."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(4), 50)
    counts = np.array(list(KINDS.values()), float)[kinds]
    ids = np.arange(len(counts))
    labelled = np.sort(rng.permutation(ids)[:LABELLED])
    vectors = np.eye(4)[kinds] + rng.normal(0, 0.05, (len(ids), 4))
    embeddings = made_embeddings(ids, vectors, counts, counted=labelled)
    config = resolve_config({"budget": BUDGET, "agent": {"episodes": 60}, "strategies": ["mgral", "sqrt_counts"]})
    boxes = [np.zeros((int(one.sum()), 4), np.float32) for one in counts]
    labels = [np.repeat([0, 1], one.astype(int)) for one in counts]
    classes = (Category(1, "first"), Category(2, "second"))
    dataset = Dataset(ids, tuple(map(str, ids)), np.full((len(ids), 2), 8), classes, tuple(boxes), tuple(labels))
    tables = []
    for _ in range(2):
        weights = rng.dirichlet(np.full(4, 0.5), SUBSETS)[:, kinds[labelled]] + 1e-6
        subsets = [
            rng.choice(labelled, size, replace=False, p=one / one.sum())
            for size, one in zip(sizes_of(LABELLED, SUBSETS), weights, strict=True)
        ]
        values = np.array([reached(counts[rows]) for rows in subsets]) + rng.normal(0, 0.003, (SUBSETS, 2))
        scores = VariantScores(np.array([0.0, *values.mean(axis=1)]), np.vstack([[0.0, 0.0], values]))
        plan = SubsetPlan("labels", "cold", (), (), ((), *(tuple(sorted(rows.tolist())) for rows in subsets)))
        tables.append(table_arrays(scores, plan, embeddings, EmbeddingConfig(), config.reward, seed)[0])
    return config, dataset, labelled, LearnedTables.of(tables, embeddings)


def test_mgral_is_worth_more_than_counts_where_worth_does_not_follow_counts() -> None:
    for seed in range(2):
        config, dataset, labelled, tables = experiment(seed)
        pool = np.setdiff1d(dataset.image_ids, labelled)
        agent, _, summary = train_validated_agent(config, tables, pool, seed)
        assert summary["p_value"] == tables.regression.p_value <= 0.05
        given = {"embeddings": tables.embeddings, "agent": agent, "tables": tables, "groups": ()}
        worth = {}
        for name in ("mgral", "mgral_greedy", "sqrt_counts"):
            selection = select(name, config, dataset, labelled, seed, **given)
            assert "note" not in selection.to_json()
            chosen = selection.images
            worth[name] = reached(tables.embeddings.counts_of([*labelled, *chosen])).mean()
        assert min(worth["mgral"], worth["mgral_greedy"]) > worth["sqrt_counts"] + 0.01


def test_a_selection_says_that_the_tables_were_not_used() -> None:
    config, dataset, labelled, tables = experiment(0)
    not_used = replace(tables, regression=tables.regression._replace(p_value=0.2))
    pool = np.setdiff1d(dataset.image_ids, labelled)
    agent, _, _ = train_validated_agent(config, not_used, pool, 0)
    for name in ("mgral", "mgral_greedy"):
        given = {"embeddings": tables.embeddings, "agent": agent, "tables": not_used, "groups": ()}
        content = select(name, config, dataset, labelled, 0, **given).to_json()
        assert content["note"].startswith("the lookup tables predict no better than tables of shuffled values")
        assert "reason" not in content
