"""A strategy that reads what it does not require is told what to add."""

import numpy as np
import pytest
from squares import squares

from mgral.config import registry, resolve_config
from mgral.errors import InputError
from mgral.selection.inference import objects_of_pool
from mgral.selection.query import Choice
from mgral.selection.selecting import select

NAME = "reads_too_much"


def run(function, requires=()):
    """Let a function choose one of twelve images, of which three are labelled."""
    registry.register(NAME, "by a test", requires=requires)(function)
    try:
        dataset, images = squares()
        config = resolve_config({"strategies": [NAME], "budget": 1, "initial": 1})
        given = {"images": images, "detector": object()} if requires else {}
        return select(NAME, config, dataset, dataset.image_ids[:3], 0, **given)
    finally:
        del registry._functions[NAME], registry._infos[NAME]


def with_images(query):
    return Choice.best(query.images.read(query.dataset.rows(query.pool)).mean(axis=(1, 2, 3)), 1)


def with_assertion(query):
    assert query.embeddings is not None
    return Choice.best(query.embeddings.vectors[:, 0], 1)


def in_a_loop(query):
    return Choice.best(np.array([len(group) for group in query.groups]), 1)


def over_the_pool(query):
    return Choice.best(np.array([len(found.scores) for found in objects_of_pool(query, "test")]), 1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            with_images,
            "reads query.images, which it does not require; add 'detections' to `requires` in the @register",
        ),
        (with_assertion, "reads query.embeddings, .*; add 'embeddings' to `requires`"),
        (in_a_loop, "reads query.groups, .*; add 'groups' to `requires`"),
        (over_the_pool, "reads query.detector and query.images, .*; add 'detections' to `requires`"),
        (lambda query: query.tables.reward, "reads query.tables, .*; add 'tables' to `requires`"),
        (lambda query: query.agent.scores, "reads query.agent, .*; add 'agent' to `requires`"),
        (lambda query: query.head(), "reads query.head, .*; add 'dense' and 'head' to `requires`"),
    ],
)
def test_what_is_read_without_being_required_is_named(function, message):
    with pytest.raises(InputError, match=f"strategy {NAME} {message}"):
        run(function)


def test_other_errors_of_a_strategy_stay_what_they_are():
    with pytest.raises(AttributeError, match="nothing_like_it"):
        run(lambda query: query.nothing_like_it)
    with pytest.raises(AttributeError, match="'object' object has no attribute 'predict'"):
        run(lambda query: query.detector.predict(), requires=("detections",))
    with pytest.raises(TypeError, match="unsupported operand"):
        run(lambda query: query.budget + "one")
