"""Strategy `mgral`: the scores of the trained agent, in one pass over the pool in ascending order of the ids.

Where an agent trained on one table does no better than random on the others (`mgral.method.agent.cross_validation`),
its scores are noise, and every batch is equally likely. The paper has no such check. So it is where the data are too
sparse for tables.
"""

from mgral.config.registry import register
from mgral.errors import InputError
from mgral.method.agent.network import Agent
from mgral.selection.query import Choice, NoAgent, Query, choose_uniformly

DRAW = "mgral random selection"
CONTRADICTION = (
    "the lookup tables contradict each other: what an agent learns from one is no better than random in another"
)


@register("mgral", "the trained agent's scores", requires=("embeddings", "counts", "agent"))
def choose(query: Query) -> Choice:
    """Choose the agent's highest scores, or at random where there is no agent or it is not validated."""
    agent = query.agent
    if isinstance(agent, NoAgent):
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
        return choose_uniformly(query, DRAW, CONTRADICTION)
    return Choice.best(agent.score_pool(vectors), query.budget)
