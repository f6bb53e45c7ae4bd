"""Strategy `mgral`: the scores of the trained agent, in one pass over the pool in ascending order of the ids.

Where the look-up tables contradict each other (`mgral.agent.cross_validation`), as where batches hardly differ in
what they are worth, the scores follow nothing but error; then every batch is equally likely. The paper has no such
check.
"""

from mgral.agent.network import load_agent
from mgral.errors import InputError
from mgral.pool import load_embeddings
from mgral.strategies.query import Choice, Query
from mgral.strategies.random import choose_uniformly


def choose(query: Query) -> Choice:
    """Choose the agent's highest scores, or at random where the agent is not believed."""
    assert query.agent is not None
    assert query.embeddings is not None
    agent = load_agent(query.agent)
    vectors = load_embeddings(query.embeddings).of(query.pool)
    if vectors.shape[1] != len(agent.mean):
        raise InputError(
            f"{query.agent} was trained on {len(agent.mean)} dimensions, but {query.embeddings} has "
            f"{vectors.shape[1]}; run the step `agent` again"
        )
    if not agent.believed:
        return choose_uniformly(query, "mgral random selection")
    return Choice.best(agent.score_pool(vectors), query.budget)
