"""Strategies `mgral` and `paper`: the scores of the trained agent, in one pass over the pool in order of the ids.

Source
------
Liang, Zeng, Zhao, Luo, *Performance-guided Reinforced Active Learning for Object Detection*, arXiv 2601.15688.

Formula
-------
An LSTM gives each image a score. Batches S drawn by score are worth the mAP that the lookup tables give them, and the
agent learns by the gradient of

    - mean((mAP(S) - reference) log pi(S))

The highest scores are chosen.

Differences
-----------
`paper` has the choices of the paper. Variants learn without labels, by a consistency loss. One table is looked up at
the nearest variant, by the sliced Wasserstein distance of embeddings. A reward is compared with that of the episode
before. What the paper leaves open is as `mgral` has it.

In `mgral` variants learn from pseudo-labels, and the AP of each class is looked up on a line through the variants.
Where the lookup tables of several reward splits agree no better than tables whose values are shuffled
(`mgral.method.lut.validation`), the agent's scores may be noise, and the batch is drawn at random. The paper has one
table, and so no such test.
"""

from mgral.config.registry import register
from mgral.errors import InputError
from mgral.method.agent.network import Agent
from mgral.method.lut.validation import NOT_VALID
from mgral.selection.query import Choice, NotMade, Query, choose_uniformly

DRAW = "mgral random selection"


@register("mgral", "the trained agent's scores", requires=("embeddings", "counts", "agent"))
@register(
    "paper",
    "the trained agent's scores, with the paper's choices",
    requires=("embeddings", "counts", "agent"),
    settings={
        "embedding": {"object_counts": False},
        "lut": {"labels": "consistency", "start": "warm", "splits": 1},
        "reward": {"distance": "sliced", "estimator": "nearest"},
        "agent": {"baseline": "previous"},
    },
)
def choose(query: Query) -> Choice:
    """Choose the agent's highest scores, or at random where there is no agent or it is not validated."""
    agent = query.agent
    if isinstance(agent, NotMade):
        return choose_uniformly(query, DRAW, agent.reason)
    assert isinstance(agent, Agent)
    assert query.embeddings is not None
    vectors = query.embeddings.features_of(query.pool, query.config.embedding).vectors
    if vectors.shape[1] != len(agent.mean):
        raise InputError(
            f"the agent was trained on {len(agent.mean)} dimensions, but {query.embeddings} has "
            f"{vectors.shape[1]}; run the step `agent` again"
        )
    if not agent.validated:
        return choose_uniformly(query, DRAW, NOT_VALID)
    return Choice.best(agent.score_pool(vectors), query.budget)
