"""Strategy `mgral`: the scores of the trained agent, in one pass over the pool in ascending order of the ids.

Where an agent trained on one table does no better than random on the others (`mgral.method.agent.cross_validation`),
its scores are noise, and every batch is equally likely. The paper has no such check.
"""

from mgral.config.registry import register
from mgral.errors import InputError
from mgral.method.agent.network import Agent
from mgral.selection.query import Choice, Query
from mgral.selection.strategies.random import choose_uniformly


@register("mgral", "the trained agent's scores", requires=("embeddings", "counts", "agent"))
def choose(query: Query) -> Choice:
    """Choose the agent's highest scores, or at random where the agent is not validated."""
    agent = query.agent
    assert isinstance(agent, Agent)
    assert query.embeddings is not None
    vectors = query.embeddings.features_of(query.pool, query.config.embedding).vectors
    if vectors.shape[1] != len(agent.mean):
        raise InputError(
            f"the agent was trained on {len(agent.mean)} dimensions, but {query.embeddings} has "
            f"{vectors.shape[1]}; run the step `agent` again"
        )
    if not agent.validated:
        return choose_uniformly(query, "mgral random selection")
    return Choice.best(agent.score_pool(vectors), query.budget)
