"""Give a strategy what it requires, and check what it chooses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import NOTE, REASON, TIED
from mgral.artefacts.seeds import derive_seed
from mgral.config import BudgetConfig, Config, ProjectData, images_in, registry
from mgral.data.dataset import Dataset
from mgral.data.images import Images
from mgral.data.results import FoundBoxes
from mgral.errors import InputError, StepError
from mgral.selection.embeddings import Embeddings
from mgral.selection.near_copies import choose_near_copies_last, without_near_copies
from mgral.selection.pool import check_pool, one_of_each, unlabelled
from mgral.selection.query import SAME_SCORES, Choice, Query, choose_uniformly
from mgral.selection.spending import RESERVE, in_images, to_spend

if TYPE_CHECKING:  # random selection does without torch
    from torch import nn

    from mgral.models.interface import DetectorModel


NEEDED: Mapping[str, tuple[registry.Requirement, ...]] = {
    "images": ("detections",),
    "detector": ("detections",),
    "embeddings": ("embeddings",),
    "tables": ("tables",),
    "agent": ("agent",),
    "head": ("dense", "head"),
    "groups": ("groups",),
}
"""What a strategy has to require, to be given a part of a query."""


@dataclass(frozen=True)
class Selection:
    """The images to label next."""

    strategy: str
    images: npt.NDArray[np.int64]
    """Ids of the chosen images, int64 [n], in the order of choice.

    n is the budget in images. With a budget in boxes it is larger, as the boxes of an image are not known yet. With
    `selection.groups` it can be smaller.
    """
    scores: npt.NDArray[np.float64]
    """Score of each image, float64 [n], on the strategy's own scale.

    Those that are chosen beyond a budget in boxes are scored by a second call of the strategy.
    """
    forward_passes: int
    """Images shown to the detector for it."""
    reason: str | None = None
    """Why they were drawn at random, where a strategy that chooses otherwise could not."""
    note: str | None = None
    """How they were chosen, where that was neither at random nor in the strategy's usual way."""
    boxes: int | None = None
    """Of a budget in boxes, those that may be spent: the images are labelled in their order while any are left."""
    tied: int = 0
    """How many images at the end were drawn from more of the same score."""
    controls: npt.NDArray[np.int64] | None = None
    """Ids drawn at random beside what the strategy chose, to compare it with; some may be among those chosen."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of `selection.json`."""
        chosen = {"strategy": self.strategy, "images": self.images.tolist(), "scores": self.scores.tolist()}
        explanations = {key: text for key, text in ((REASON, self.reason), (NOTE, self.note)) if text}
        boxes = {} if self.boxes is None else {"boxes": self.boxes}
        controls = {} if self.controls is None else {"controls": self.controls.tolist()}
        tied = {TIED: self.tied} if self.tied else {}
        return {**chosen, "forward_passes": self.forward_passes, **boxes, **tied, **controls, **explanations}


def select(
    strategy: str,
    config: Config,
    dataset: Dataset,
    labelled: npt.NDArray[np.int64],
    seed: int,
    cycle: int = 0,
    *,
    images: Images | None = None,
    detector: "DetectorModel | None" = None,
    found: FoundBoxes | None = None,
    embeddings: Embeddings | None = None,
    tables: object = None,
    agent: object = None,
    head: "nn.Module | None" = None,
    groups: Sequence[Sequence[int]] | None = None,
    unspent: int = 0,
    controls: int = 0,
) -> Selection:
    """Choose the images to label next.

    Parameters
    ----------
    strategy
        An instance of the configuration, which may have settings of its own; or the name of any other strategy.
    dataset
        All training images; labels of the pool are hidden from the strategy.
    labelled
        Ids of the labelled images, int64 [n].
    images, detector, embeddings, tables, agent, head
        What the strategy requires of these.
    found
        Detections in all training images, given in place of `detector` if that is a command of the user.
    groups
        Ids of near-copies: at most one image of a group is chosen, and those of a group with a labelled image come
        last. Where that leaves fewer images than the budget, all of them are chosen. A strategy that requires groups
        sees to that itself, unless it chooses for a project.
    unspent
        Of a budget in boxes, those that the cycles before have left.
    controls
        Images to draw at random beside the budget, from what the strategy may choose from. Neither knows of the
        other, so an image can be both chosen and drawn.

    Raises
    ------
    InputError
        For an unknown strategy, one that requires more than is given or than the detector has, and a pool smaller
        than the budget.
    StepError
        Where a strategy does not choose as many images as the budget.
    """
    if strategy not in config.strategies:
        config = config.with_instance(strategy)
    kind, config = config.strategies[strategy].type, config.for_strategy(strategy)
    info = registry.strategy(kind)
    available = {"images": images, "detector": found or detector, "embeddings": embeddings, "tables": tables}
    _check_given(info, config, available | {"agent": agent, "head": head, "groups": groups})
    labelled = np.sort(labelled)
    pool = unlabelled(dataset.image_ids, labelled)
    masked_dataset = dataset.without_labels(pool)
    boxes = to_spend(config.budget, unspent) if isinstance(config.budget, BudgetConfig) else None
    reserve_config = in_images(config, masked_dataset, labelled, unspent, RESERVE)
    config = in_images(config, masked_dataset, labelled, unspent)
    one_each = groups is not None and ("groups" not in info.requires or isinstance(config.data, ProjectData))
    if groups is not None and one_each:
        pool = one_of_each(pool, groups, derive_seed(seed, "one of each group", cycle))
        if not len(pool):
            raise InputError("no image is left to be chosen; add pictures to the project, or import what is labelled")
        config, reserve_config = (
            unbounded.model_copy(update={"budget": min(images_in(unbounded.budget), len(pool))})
            for unbounded in (config, reserve_config)
        )
    check_pool(pool, images_in(config.budget))
    query = Query(
        masked_dataset,
        labelled,
        pool,
        config,
        seed,
        cycle,
        images=images,
        detector=detector,
        found=found,
        embeddings=embeddings,
        tables=tables,
        agent=agent,
        head=head,
        groups=groups,
    )
    function = partial(choose, kind, ordered=boxes is not None)
    if one_each:
        function = partial(choose_near_copies_last, function)
    choice = function(query)
    if boxes is not None and reserve_config.budget != config.budget:
        # Batches are planned as a whole, so first those that are likely to be paid.
        choice = followed_by(choice, function(replace(query, config=reserve_config)))
    return Selection(
        strategy,
        pool[choice.rows],
        choice.scores,
        choice.forward_passes,
        choice.reason,
        choice.note,
        boxes,
        choice.tied,
        _draw_controls(query, controls, without_near_copies(query) if one_each else pool) if controls else None,
    )


def _check_given(info: registry.StrategyInfo, config: Config, available: Mapping[str, object]) -> None:
    """Raise InputError where a strategy requires more than is given, or than the detector has."""
    needed = ("tables" if name == "table" else name for name in info.files)
    if missing := [name for name in needed if available[name] is None]:
        raise InputError(f"strategy {info.name} needs {' and '.join(missing)}; pass what is missing")
    if "dense" in info.requires and not config.detector.dense:
        raise InputError(f"strategy {info.name} needs anchors, and {config.detector.name} has none; choose another")


def _draw_controls(query: Query, count: int, distinct: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return at most `count` ids drawn at random from the `distinct` ones, or from the whole pool if they are few."""
    rng = np.random.default_rng(derive_seed(query.seed, "controls", query.cycle))
    candidates = distinct if len(distinct) >= max(query.budget, count) else query.pool
    return rng.choice(candidates, min(count, len(candidates)), replace=False)


def choose(strategy: str, query: Query, ordered: bool = False) -> Choice:
    """Return what a strategy chooses, or a random choice where it is undecided.

    Parameters
    ----------
    ordered
        Whether the order counts though all of the pool is chosen, as not all of it may be paid.

    Raises
    ------
    InputError
        Where it reads what it does not require.
    StepError
        Where that is not `budget` images with finite scores.
    """
    function: Callable[[Query], Choice] = registry.strategy_function(strategy)
    try:
        choice = function(query)
    except (AssertionError, AttributeError, TypeError) as error:
        if lacking := _read_without_requiring(error, query, registry.strategy(strategy)):
            needed = dict.fromkeys(repr(requirement) for name in lacking for requirement in NEEDED[name])
            raise InputError(
                f"strategy {strategy} reads query.{' and query.'.join(lacking)}, which it does not require; add "
                f"{' and '.join(needed)} to `requires` in the @register of {registry.strategy(strategy).module}"
            ) from error
        raise
    if not isinstance(choice, Choice) or not isinstance(choice.rows, np.ndarray):
        raise StepError(f"select: strategy {strategy} did not return a Choice of NumPy arrays; see docs/extending.md")
    if choice.undecided and (ordered or query.budget < len(query.pool)):
        random_choice = choose_uniformly(query, f"{strategy} undecided", SAME_SCORES)
        choice = replace(random_choice, forward_passes=choice.forward_passes)
    if len(set(choice.rows.tolist())) != query.budget or len(choice.rows) != query.budget:
        raise StepError(f"select: strategy {strategy} did not choose {query.budget} different images")
    if not np.isfinite(choice.scores).all():
        raise StepError(f"select: strategy {strategy} gave a score that is not finite")
    return choice


def _read_without_requiring(error: BaseException, query: Query, info: registry.StrategyInfo) -> list[str]:
    """Return the parts of a query that are None, not required, and named by the code in which an error arose."""
    absent = {
        name for name, needed in NEEDED.items() if getattr(query, name) is None and not {*needed} <= {*info.requires}
    }
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    names_by_frame = [absent.intersection(frame.f_code.co_names) for frame in frames]
    return sorted(next((names for names in reversed(names_by_frame) if names), ()))


def followed_by(first: Choice, second: Choice) -> Choice:
    """Return a choice, and behind it as much of another as makes it as long as that one."""
    added = np.flatnonzero(~np.isin(second.rows, first.rows))[: len(second.rows) - len(first.rows)]
    return replace(
        first,
        rows=np.concatenate([first.rows, second.rows[added]]),
        scores=np.concatenate([first.scores, second.scores[added]]),
        forward_passes=first.forward_passes + second.forward_passes,
        tied=0,
    )
