"""A head for a query: trained on the query's detector as it is, for tests of what a strategy makes of one."""

from dataclasses import replace

import torch

from mgral.artefacts.seeds import derive_seed
from mgral.config import TrainingConfig
from mgral.selection.heads import HeadTraining
from mgral.selection.query import Query
from mgral.training.batches import training_images
from mgral.training.loop import learning_rate_factor


def query_with_head(query: Query, strategy: str, iterations: int = 3) -> Query:
    """Return the query with the strategy's head, which has seen all labelled images so often."""
    training = HeadTraining(strategy, TrainingConfig(), derive_seed(query.seed, "head of a query", query.cycle))
    detector = query.detector.eval()
    pixels, targets = training_images(query.dataset, query.images, query.labelled).batch(
        torch.arange(len(query.labelled))
    )
    with torch.no_grad():
        maps = detector.maps(pixels)
        predictions = detector.predict(maps)
    for iteration in range(iterations):
        training.see(detector, 1.0, maps, predictions, targets)
        training.step(learning_rate_factor(iteration, iterations, TrainingConfig()))
    detector.eval()
    return replace(query, head=training.trained(detector))
