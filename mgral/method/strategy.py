"""Strategies `mgral` and `paper`: an agent that was trained on the lookup tables chooses the batch.

Source
------
Liang, Zeng, Zhao, Luo, *Performance-guided Reinforced Active Learning for Object Detection*, arXiv 2601.15688.

Formula
-------
During training, the agent draws batches S from the pool. The lookup tables estimate the mAP that a batch leads to,
mAP(S). The agent learns by policy gradient, with the loss

    - mean((mAP(S) - baseline) log pi(S))

In `mgral` a batch is chosen image by image. The agent scores every image that could be added, given the batch so far,
and the image with the highest score is added. Near-copies come last, as in `random_no_copies`. If the pool is
large, only a random sample of its images is scored each time, as in `mgral_greedy`.

In `paper` an LSTM scores all images in one pass over the pool, in order of their ids, and the images with the highest
scores are chosen.

Differences
-----------
`paper` follows the paper. Variants learn from unlabelled images, by a consistency loss. There is one table. A batch
gets the mAP of the nearest variant, by the sliced Wasserstein distance between embeddings. The baseline is the mean
reward of the previous episode. What the paper leaves open is done as in `mgral`.

In `mgral` variants learn from labels, and a regression over all variants predicts the AP of each class
(`mgral.method.lut.regression`). The agent knows which images are already in the batch
(`mgral.method.agent.batch_agent`). In the loss, each choice counts with what the batch gains from there on. The
baseline is the mean of what the batches of the same episode gain from the same step on.

If tables are looked up by distance, a permutation test compares the tables of several reward splits
(`mgral.method.lut.validation`). If they agree no better than tables with shuffled values, the agent's scores may be
noise, and the batch is drawn at random. The test needs several tables, so `paper` goes without it. Where a regression
predicts no better than shuffled values, its prior decides, as in `mgral_greedy`.
"""

from dataclasses import replace

from mgral.config.registry import register
from mgral.errors import InputError
from mgral.method.agent.batch_agent import BatchAgent, choose_batch
from mgral.method.agent.network import Agent
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.validation import NOT_VALID
from mgral.selection.near_copies import choose_near_copies_last
from mgral.selection.query import Choice, NotMade, Query, choose_uniformly

DRAW = "mgral random selection"


@register(
    "mgral",
    "the agent that learnt from lookup tables",
    requires=("embeddings", "counts", "tables", "agent", "groups"),
)
def choose_without_copies(query: Query) -> Choice:
    """Choose the images without near-copies that the agent scores highest; at random if there is no agent."""
    return choose_near_copies_last(choose, query)


@register(
    "paper",
    "the trained agent's scores, with the paper's choices",
    requires=("embeddings", "counts", "agent"),
    settings={
        "embedding": {"object_counts": False},
        "lut": {"labels": "consistency", "start": "warm", "splits": 1},
        "reward": {"distance": "sliced", "estimator": "nearest"},
        "agent": {
            "policy": "lstm",
            "baseline": "previous",
            "episodes": 300,
            "samples": 64,
            "learning_rate": 3e-3,
            "hidden": 64,
        },
    },
)
def choose(query: Query) -> Choice:
    """Choose the images that the agent scores highest; at random if there is no agent or it is not validated."""
    agent, tables = query.agent, query.tables
    for artefact in (agent, tables):
        if isinstance(artefact, NotMade):
            return choose_uniformly(query, DRAW, artefact.reason)
    assert isinstance(agent, Agent | BatchAgent)
    assert query.embeddings is not None
    vectors = query.embeddings.features_of(query.pool, query.config.embedding).vectors
    if vectors.shape[1] != len(agent.mean):
        raise InputError(
            f"the agent was trained on {len(agent.mean)} dimensions, but {query.embeddings} has "
            f"{vectors.shape[1]}; run the step `agent` again"
        )
    if isinstance(agent, Agent):
        if not agent.validated:
            return choose_uniformly(query, DRAW, NOT_VALID)
        note = tables.note if isinstance(tables, LearnedTables) else None
        return replace(Choice.best(agent.score_pool(vectors), query.budget), note=note)
    assert isinstance(tables, LearnedTables)
    choice = choose_batch(agent, tables.over(query.pool), vectors, query.budget, query.seed, query.cycle)
    return replace(choice, note=tables.note)
