"""Strategies `sqrt_counts*`, `class_presence*` and `most_objects`: baselines that count the objects of a batch.

They need no table and no agent. `sqrt_counts` and `class_presence` choose greedily: each further object of a class
adds less, so objects of rare classes add most.

Source
------
Our own baselines. The sum of roots is a feature-based submodular function (Wei, Iyer, Bilmes, *Submodularity in data
subset selection and active learning*, ICML 2015).

Formula
-------
Let n_c be the number of objects of class c, or of images that show it, in the labelled images and in the batch so
far:

    gain of an image = sum over c of sqrt(n_c + what it brings) - sqrt(n_c)

For `sqrt_counts`, an image brings the predicted object counts of the step `embed`. For `class_presence` it brings the
probability that it shows the class: the highest score of its boxes of that class. This is a lower bound of the
probability that any of these boxes is right, however they depend on each other. Multiplying the probabilities that
each is wrong would treat them as independent: a hundred doubtful boxes of one object would make the class certain. A
chosen image still counts by its probability.

With `_per_box` a gain is divided by 1 + the expected number of boxes: the cost of labelling the image, if opening it
costs as much as a box. The expected number is the predicted objects, or the sum of the scores. `most_objects` chooses
the images with the most predicted objects.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mgral.config.registry import register
from mgral.selection.inference import objects_of_pool
from mgral.selection.query import Choice, Query
from mgral.selection.submodular import greedy

Float64 = npt.NDArray[np.float64]


@register("sqrt_counts", "many objects, most of rare classes", requires=("counts",))
def choose_by_counts(query: Query) -> Choice:
    """Choose by gains in the sum over classes of the root of the objects, labelled and predicted."""
    counts = _predicted(query)
    return greedy_by_roots(_labelled_objects(query).sum(axis=0), counts, np.ones(len(counts)), query.budget)


@register("sqrt_counts_per_box", "many objects of rare classes, for few boxes to draw", requires=("counts",))
def choose_by_counts_per_box(query: Query) -> Choice:
    """Choose by the same gains as `sqrt_counts`, divided by 1 + the predicted objects."""
    counts = _predicted(query)
    return greedy_by_roots(_labelled_objects(query).sum(axis=0), counts, 1 + counts.sum(axis=1), query.budget)


@register("class_presence", "many images of each class, most of rare classes", requires=("detections",))
def choose_by_presence(query: Query) -> Choice:
    """Choose by gains in the sum over classes of the root of the images that show the class."""
    presence, _ = _presence(query)
    return _by_presence(query, presence, np.ones(len(presence)))


@register("class_presence_per_box", "images of rare classes, for few boxes to draw", requires=("detections",))
def choose_by_presence_per_box(query: Query) -> Choice:
    """Choose by the same gains as `class_presence`, divided by 1 + the sum of the scores."""
    presence, boxes = _presence(query)
    return _by_presence(query, presence, 1 + boxes)


@register("most_objects", "the most predicted objects", requires=("counts",))
def choose_most(query: Query) -> Choice:
    """Choose by the predicted objects of all classes."""
    return Choice.best(_predicted(query).sum(axis=1), query.budget)


def greedy_by_roots(labelled: npt.NDArray[np.int64], amounts: Float64, price: Float64, budget: int) -> Choice:
    """Choose each time the image with the largest gain for its price in the sum over classes of a root.

    Parameters
    ----------
    labelled
        Amount of each class that is there, [C].
    amounts
        Expected amount of each class in each image of the pool, float64 [n, C], 0 or more.
    price
        float64 [n], positive.
    """
    present = labelled.astype(np.float64)

    def gains(rows: npt.NDArray[np.int64]) -> Float64:
        gain_for_price: Float64 = (np.sqrt(present + amounts[rows]) - np.sqrt(present)).sum(axis=1) / price[rows]
        return gain_for_price

    def add(row: int) -> None:
        present[:] += amounts[row]

    return greedy(gains, add, len(amounts), budget)


def _labelled_objects(query: Query) -> npt.NDArray[np.int64]:
    """Return the objects of each class in each labelled image, int64 [m, C]."""
    return query.dataset.object_counts(query.labelled)


def _predicted(query: Query) -> Float64:
    """Return the predicted objects of each class in each image of the pool, float64 [n, C]."""
    assert query.embeddings is not None
    return query.embeddings.counts_of(query.pool).astype(np.float64)


def _presence(query: Query) -> tuple[Float64, Float64]:
    """Return how likely each image of the pool shows each class, float64 [n, C], and its expected boxes, [n]."""
    presence = np.zeros((len(query.pool), len(query.dataset.categories)))
    boxes = np.zeros(len(query.pool))
    for row, objects in enumerate(objects_of_pool(query, "class presence")):
        scores = objects.scores.double().numpy()
        np.maximum.at(presence[row], objects.labels.numpy(), scores)
        boxes[row] = scores.sum()
    return presence, boxes


def _by_presence(query: Query, presence: Float64, price: Float64) -> Choice:
    labelled = (_labelled_objects(query) > 0).sum(axis=0)
    return replace(greedy_by_roots(labelled, presence, price, query.budget), forward_passes=len(query.pool))
