"""What a strategy is given and what it gives back."""

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
from mgral.selection.pool import check_pool, one_of_each, unlabelled
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
SAME_SCORES = "all images of the pool have the same score"
"""Why a strategy that scores images chooses at random."""


@dataclass(frozen=True)
class NotMade:
    """What strategies have in the place of tables or an agent that could not be made."""

    reason: str


@dataclass(frozen=True)
class Query:
    """What a strategy knows; what only some strategies require is None for the others."""

    dataset: Dataset
    """All training images; those of the pool have no boxes."""
    labelled: npt.NDArray[np.int64]
    """Ids of the labelled images, ascending."""
    pool: npt.NDArray[np.int64]
    """Ids of the unlabelled images, ascending."""
    config: Config
    """The experiment, with the settings of this strategy; its budget is in images."""
    seed: int
    cycle: int
    images: Images | None = None
    """Pixels of all training images, in the order of the data set."""
    detector: "DetectorModel | None" = None
    """The cycle's detector, in evaluation mode, on the device to compute on."""
    found: FoundBoxes | None = None
    """Detections in all training images, given in place of `detector` if that is a command of the user."""
    embeddings: Embeddings | None = None
    tables: object = None
    """Lookup tables, `mgral.method.lut.reward.AnyTables`; or `NotMade`, if they could not be made.

    The type is `object`, as this package must not import `mgral.method` (ARCHITECTURE.md).
    """
    agent: object = None
    """The trained agent, `Agent` or `BatchAgent` of `mgral.method.agent`; or `NotMade`."""
    head: "nn.Module | None" = None
    """The strategy's head, trained along with the detector, in evaluation mode, on the detector's device."""
    groups: Sequence[Sequence[int]] | None = None
    """Ids of training images that are near-copies of each other, each in one group at most."""

    @property
    def budget(self) -> int:
        """Images to choose, at most the pool. With a budget in boxes, only the first of them are labelled, until the
        boxes are used."""
        return images_in(self.config.budget)


@dataclass(frozen=True)
class Choice:
    """The images that a strategy chose."""

    rows: npt.NDArray[np.int64]
    """Rows of the pool, [budget], in the order of choice."""
    scores: npt.NDArray[np.float64]
    """What each was chosen by, on the strategy's own scale, [budget]."""
    forward_passes: int = 0
    """Images shown to the detector for it."""
    reason: str | None = None
    """Why they were drawn at random, where a strategy that chooses otherwise could not."""
    note: str | None = None
    """How they were chosen, where that was neither at random nor in the strategy's usual way."""
    undecided: bool = False
    """Whether the strategy sees no difference between the images of the pool: `choose` then draws at random."""
    tied: int = 0
    """How many images at its end were drawn from more of the same score."""

    @classmethod
    def best(cls, scores: npt.NDArray[Any], budget: int, forward_passes: int = 0) -> "Choice":
        """Choose the highest of the pool's scores, [n], numbers; undecided where all are equal."""
        if unknown := int(np.isnan(scores).sum()):
            raise StepError(f"select: {unknown} of {len(scores)} scores are not a number (NaN); give each image one")
        rows = highest(scores, budget)
        chosen = scores[rows]
        last = int((chosen == chosen[-1]).sum())
        tied = last if last < (scores == chosen[-1]).sum() else 0
        return cls(rows, chosen.astype(np.float64), forward_passes, undecided=all_equal(scores), tied=tied)


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
        because = {key: text for key, text in ((REASON, self.reason), (NOTE, self.note)) if text}
        boxes = {} if self.boxes is None else {"boxes": self.boxes}
        controls = {} if self.controls is None else {"controls": self.controls.tolist()}
        tied = {TIED: self.tied} if self.tied else {}
        return {**chosen, "forward_passes": self.forward_passes, **boxes, **tied, **controls, **because}


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
    given: dict[str, object] = {"images": images, "detector": found or detector, "embeddings": embeddings}
    given |= {"tables": tables, "agent": agent, "head": head, "groups": groups}
    info = registry.strategy(kind)
    needed = ("tables" if name == "table" else name for name in info.files)
    if missing := [name for name in needed if given[name] is None]:
        raise InputError(f"strategy {kind} needs {' and '.join(missing)}; pass what is missing")
    if "dense" in info.requires and not config.detector.dense:
        raise InputError(f"strategy {kind} needs anchors, and {config.detector.name} has none; choose another")
    labelled = np.sort(labelled)
    pool = unlabelled(dataset.image_ids, labelled)
    hidden = dataset.without_labels(pool)
    boxes = to_spend(config.budget, unspent) if isinstance(config.budget, BudgetConfig) else None
    with_reserve = in_images(config, hidden, labelled, unspent, RESERVE)
    config = in_images(config, hidden, labelled, unspent)
    one_each = groups is not None and ("groups" not in info.requires or isinstance(config.data, ProjectData))
    if groups is not None and one_each:
        pool = one_of_each(pool, groups, derive_seed(seed, "one of each group", cycle))
        if not len(pool):
            raise InputError("no image is left to be chosen; add pictures to the project, or import what is labelled")
        config, with_reserve = (
            one.model_copy(update={"budget": min(images_in(one.budget), len(pool))}) for one in (config, with_reserve)
        )
    check_pool(pool, images_in(config.budget))
    query = Query(
        hidden,
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
    if boxes is not None and with_reserve.budget != config.budget:
        # Batches are planned as a whole, so first those that are likely to be paid.
        choice = followed_by(choice, function(replace(query, config=with_reserve)))
    rng = np.random.default_rng(derive_seed(seed, "controls", cycle))
    apart = without_near_copies(query) if one_each else pool
    free = apart if len(apart) >= max(query.budget, controls) else pool
    drawn = rng.choice(free, min(controls, len(free)), replace=False) if controls else None
    why = choice.reason, choice.note
    return Selection(
        strategy, pool[choice.rows], choice.scores, choice.forward_passes, *why, boxes, choice.tied, drawn
    )


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
            needed = dict.fromkeys(repr(one) for name in lacking for one in NEEDED[name])
            raise InputError(
                f"strategy {strategy} reads query.{' and query.'.join(lacking)}, which it does not require; add "
                f"{' and '.join(needed)} to `requires` in the @register of {registry.strategy(strategy).module}"
            ) from error
        raise
    if not isinstance(choice, Choice) or not isinstance(choice.rows, np.ndarray):
        raise StepError(f"select: strategy {strategy} did not return a Choice of NumPy arrays; see docs/extending.md")
    if choice.undecided and (ordered or query.budget < len(query.pool)):
        drawn = choose_uniformly(query, f"{strategy} undecided", SAME_SCORES)
        choice = replace(drawn, forward_passes=choice.forward_passes)
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
    named = [absent.intersection(frame.f_code.co_names) for frame in frames]
    return sorted(next((names for names in reversed(named) if names), ()))


def without_near_copies(query: Query) -> npt.NDArray[np.int64]:
    """Return images of the pool, no near-copies of each other or of a labelled one: ids int64 [n], ascending.

    Of each group without a labelled image one is drawn by the seed. `query.groups` is required.
    """
    assert query.groups is not None
    labelled = set(query.labelled.tolist())
    known = [image for group in query.groups if not labelled.isdisjoint(group) for image in group]
    seed = derive_seed(query.seed, "one of each group without a label", query.cycle)
    return one_of_each(np.setdiff1d(query.pool, known), query.groups, seed)


def choose_near_copies_last(function: Callable[[Query], Choice], query: Query) -> Choice:
    """Let a strategy choose among images without near-copies, and the rest of the budget among the others."""
    apart = without_near_copies(query)
    choices, missing = [], query.budget
    for images in (apart, np.setdiff1d(query.pool, apart)):
        if count := min(missing, len(images)):
            config = query.config.model_copy(update={"budget": count})
            choices.append(_choose_part(function, replace(query, pool=images, config=config), query.pool))
            missing -= count
    first, last = choices[0], choices[-1]
    note = f"near-copies follow, drawn at random: {last.reason}" if last.reason else last.note
    return replace(
        first,
        rows=np.concatenate([one.rows for one in choices]),
        scores=np.concatenate([one.scores for one in choices]),
        forward_passes=sum(one.forward_passes for one in choices),
        tied=last.tied,
        note=first.note if first.reason or first.note else note,
    )


def _choose_part(function: Callable[[Query], Choice], query: Query, pool: npt.NDArray[np.int64]) -> Choice:
    """Return what a strategy chooses of a part of the pool, as rows of the whole pool."""
    choice = function(query)
    if choice.undecided and query.budget < len(query.pool):
        drawn = choose_uniformly(query, "undecided among a part of the pool", SAME_SCORES)
        choice = replace(drawn, forward_passes=choice.forward_passes)
    return replace(choice, rows=np.searchsorted(pool, query.pool[choice.rows]), undecided=False)


def followed_by(first: Choice, more: Choice) -> Choice:
    """Return a choice, and behind it as much of another as makes it as long as that one."""
    others = np.flatnonzero(~np.isin(more.rows, first.rows))[: len(more.rows) - len(first.rows)]
    return replace(
        first,
        rows=np.concatenate([first.rows, more.rows[others]]),
        scores=np.concatenate([first.scores, more.scores[others]]),
        forward_passes=first.forward_passes + more.forward_passes,
        tied=0,
    )


def highest(scores: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """Return the rows of the `count` highest scores, best first; of equal scores in the order of `drawn_order`."""
    order = drawn_order(len(scores))
    return order[np.argsort(-scores[order], kind="stable")][:count]


def drawn_order(images: int) -> npt.NDArray[np.int64]:
    """Return the rows of a pool in an order drawn once for each size of pool, int64 [n].

    Equal images are chosen in this order. In the order of their ids they would often be neighbours: frames of one
    video, or pictures of one day.
    """
    return np.random.default_rng(images).permutation(images)


def all_equal(scores: npt.NDArray[Any]) -> bool:
    """Return whether scores, [n], tell no image from another."""
    return bool((scores == scores[0]).all())


def choose_uniformly(query: Query, purpose: str, reason: str | None = None) -> Choice:
    """Choose by uniform scores in [0, 1) that are others for each purpose, seed and cycle."""
    rng = np.random.default_rng(derive_seed(query.seed, purpose, query.cycle))
    return replace(Choice.best(rng.random(len(query.pool)), query.budget), reason=reason)
