"""Strategies `mgral` and `paper`: what an agent chooses that has learnt from the lookup tables.

Source
------
Liang, Zeng, Zhao, Luo, *Performance-guided Reinforced Active Learning for Object Detection*, arXiv 2601.15688.

Formula
-------
An agent draws batches S of the pool. They are worth the mAP that the lookup tables give them, and the agent learns by
the gradient of

    - mean((mAP(S) - reference) log pi(S))

In `mgral` the agent scores every image that could be added next, given the batch so far, and the highest score is
chosen, image by image. Of a large pool some images are tried that are drawn at random, as in `mgral_greedy`.

In `paper` an LSTM gives each image a score in one pass over the pool in order of the ids, and the highest scores are
chosen.

Differences
-----------
`paper` has the choices of the paper. Variants learn without labels, by a consistency loss. One table is looked up at
the nearest variant, by the sliced Wasserstein distance of embeddings. A reward is compared with that of the episode
before. What the paper leaves open is as `mgral` has it.

In `mgral` variants learn from labels, and the AP of each class is learned from all of them by regression
(`mgral.method.lut.regression`). The agent knows what its batch holds already (`mgral.method.agent.batch_agent`): a
choice is judged by what the batch gains from there on, beside other batches of the same episode.

Where tables are looked up by distances, and those of several reward splits agree no better than tables whose values
are shuffled (`mgral.method.lut.validation`), the agent's scores may be noise, and the batch is drawn at random. The
paper has one table, and so no such test.
"""

from mgral.config.registry import register
from mgral.errors import InputError
from mgral.method.agent.batch_agent import BatchAgent, choose_batch
from mgral.method.agent.network import Agent
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.validation import NOT_VALID
from mgral.selection.query import Choice, NotMade, Query, choose_uniformly

DRAW = "mgral random selection"


@register("mgral", "the agent that learnt from lookup tables", requires=("embeddings", "counts", "tables", "agent"))
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
    """Choose what the agent scores highest, or at random where there is none or it is not validated."""
    agent, tables = query.agent, query.tables
    for one in (agent, tables):
        if isinstance(one, NotMade):
            return choose_uniformly(query, DRAW, one.reason)
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
        return Choice.best(agent.score_pool(vectors), query.budget)
    assert isinstance(tables, LearnedTables)
    return choose_batch(agent, tables.over(query.pool), vectors, query.budget, query.seed, query.cycle)
