"""Strategy `mgral`: the scores of the trained agent, in one pass over the pool in ascending order of the ids."""

from mgral.agent.network import load_agent
from mgral.errors import InputError
from mgral.pool import load_embeddings
from mgral.strategies.query import Choice, Query


def choose(query: Query) -> Choice:
    """Choose the agent's highest scores."""
    assert query.agent is not None
    assert query.embeddings is not None
    agent = load_agent(query.agent)
    vectors = load_embeddings(query.embeddings).of(query.pool)
    if vectors.shape[1] != len(agent.mean):
        raise InputError(
            f"{query.agent} was trained on {len(agent.mean)} dimensions, but {query.embeddings} has "
            f"{vectors.shape[1]}; run the step `agent` again"
        )
    return Choice.best(agent.score_pool(vectors), query.budget)
