"""A budget in boxes: how many images a strategy chooses, and which of them are paid."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_json
from mgral.config import BudgetConfig, Config
from mgral.data.dataset import Dataset
from mgral.errors import InputError
from mgral.selection.pool import draw_initial

LEAST_PRICE = 1
"""Least price of an image, in boxes: somebody has to look at it to know that it shows nothing."""
RESERVE = 3
"""Images that a strategy is asked for, for each one that the budget would pay at the mean price of labelled images.

So the budget is spent by images with a third of the mean price too. With fewer images a strategy that prefers cheap
ones leaves a rest for the next cycle, which the last one has not got."""


def prices(boxes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the prices of images in boxes, int64 [n], given their boxes [n]: these, and `LEAST_PRICE` at least."""
    return np.maximum(np.asarray(boxes, dtype=np.int64), LEAST_PRICE)


def prices_of(dataset: Dataset, image_ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the prices of images in boxes, int64 [n], in the order of their ids [n]."""
    return prices([len(dataset.labels[row]) for row in dataset.rows(image_ids)])


def to_spend(budget: BudgetConfig, unspent: int) -> int:
    """Return the boxes that a cycle may pay for; 0 or less where the cycle before has overdrawn them.

    Parameters
    ----------
    unspent
        Boxes that the cycles before have left, below 0 where they have paid for more than they had.
    """
    return budget.amount + unspent


def in_images(
    config: Config, dataset: Dataset, labelled: npt.NDArray[np.int64], unspent: int = 0, reserve: int = 1
) -> Config:
    """Return the experiment with its budget turned from boxes into the images that a strategy is asked for.

    They are as many as the boxes to spend would pay at the mean price of the labelled images, times `reserve`; at
    least one, and at most all of the pool.

    Parameters
    ----------
    dataset
        All training images; of their labels only those of labelled images are read.
    labelled
        Ids of the labelled images, int64 [n].
    unspent
        Boxes left over from earlier cycles; negative if these took more than their budget.
    """
    if not isinstance(config.budget, BudgetConfig):
        return config
    price = prices_of(dataset, labelled).mean() if len(labelled) else float(LEAST_PRICE)
    images = int(np.ceil(reserve * to_spend(config.budget, unspent) / price))
    return config.model_copy(update={"budget": max(1, min(images, len(dataset.image_ids) - len(labelled)))})


class Payment(NamedTuple):
    """What a cycle has paid for."""

    images: npt.NDArray[np.int64]
    """Ids, in the order of choice."""
    unspent: int
    """Boxes that are left, below 0 where the last image had more than were left."""


def pay(dataset: Dataset, chosen: Sequence[int], boxes: int) -> Payment:
    """Label images in the order of choice while any of the boxes to spend are left.

    Nobody knows the price of an image before it is labelled, so the last one is paid in full. What is overdrawn is
    taken from the next cycle.

    Parameters
    ----------
    chosen
        Ids.
    boxes
        To spend; nothing is paid of 0 or less.
    """
    spent = np.cumsum(prices_of(dataset, chosen))
    # An image is paid where those before it have left something.
    spent_before = np.concatenate([[0], spent])[: len(chosen)]
    count = int((spent_before < boxes).sum())
    return Payment(np.array(chosen[:count], dtype=np.int64), boxes - int(spent[count - 1] if count else 0))


def load_unspent(path: Path) -> int:
    """Return the boxes that are left after the labelled images of a labelled.json; 0 for a budget in images."""
    return _boxes(path, "unspent") or 0


def load_to_spend(path: Path) -> int | None:
    """Return the boxes that may be spent on a selection.json; None for a budget in images."""
    return _boxes(path, "boxes")


def _boxes(path: Path, key: str) -> int | None:
    content = read_json(path)
    boxes = content.get(key) if isinstance(content, dict) else None
    if boxes is not None and (not isinstance(boxes, int) or isinstance(boxes, bool)):
        raise InputError(f"{path}: `{key}` is no number of boxes; delete the file and run its step again")
    return boxes


def check_boxes(config: Config, budget: BudgetConfig, dataset: Dataset) -> None:
    """Raise ValueError where an experiment asks for more boxes than its training images contain beside the initial
    ones.

    The image with the most boxes may be paid before the last cycle, which has to find an image too. A budget in
    images is checked by `mgral.config.check_budget`.
    """
    boxes_asked = config.cycles * budget.amount
    for seed in config.seeds:
        pool = np.setdiff1d(dataset.image_ids, draw_initial(dataset.image_ids, config.initial, seed))
        image_prices = prices_of(dataset, pool)
        total, most = int(image_prices.sum()), int(image_prices.max())
        if max(boxes_asked, boxes_asked - budget.amount + most) > total:
            raise ValueError(
                f"budget: {config.cycles} cycles of {budget.amount} boxes are {boxes_asked}, but beside the "
                f"{config.initial} initial images of seed {seed} there are {total}, in images of up to {most}; lower "
                "budget, cycles or initial"
            )
