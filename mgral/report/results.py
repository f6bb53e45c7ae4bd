"""What the report reads: every artefact of an experiment that it shows, checked and as arrays."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import REASON, read_csv, read_json
from mgral.config import DEFAULT, Config, Distance, Estimator, RewardConfig
from mgral.data.dataset import Dataset, load_dataset
from mgral.data.images import Images, load_images
from mgral.errors import InputError
from mgral.evaluation.voc import VOC_SCORES
from mgral.method.lut.agreement import predict_each_other
from mgral.method.lut.estimators import estimators_of
from mgral.report.data import DataNotes, load_notes
from mgral.report.styles import baseline_of

Array = npt.NDArray[np.float64]
SIZES = ("ap_small", "ap_medium", "ap_large")
INITIAL = "initial"
"""Folder of the round that all strategies start from."""


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class on the test images, 0 to 1; NaN where the class has no box there."""

    name: str
    scores: dict[str, float]
    """map, ap50 and, of VOC data, the two of `mgral.evaluation.voc`."""
    boxes: int


@dataclass(frozen=True)
class Metrics:
    """Scores of one detector on the test images, 0 to 1; NaN where null in the file."""

    scores: dict[str, float]
    """map, ap50, ap75, ap_small, ap_medium, ap_large and, of VOC data, the two of `mgral.evaluation.voc`."""
    images: int
    boxes: int
    per_class: tuple[ClassScore, ...]


@dataclass(frozen=True)
class Round:
    """A point of a curve: what is labelled at the start of a cycle, and the detector trained on it."""

    labelled: npt.NDArray[np.int64]
    """Rows of the training set."""
    metrics: Metrics


@dataclass(frozen=True)
class Selection:
    """What a strategy chose in a cycle, best first."""

    rows: npt.NDArray[np.int64]
    scores: Array
    forward_passes: int
    """Images shown to the detector for it."""
    reason: str | None
    """Why they were drawn at random, where the strategy would choose otherwise."""


@dataclass(frozen=True)
class AgentRun:
    """The training of one agent: its learning curve by column [episodes], its summary, and its table's accuracy."""

    curve: dict[str, Array]
    summary: dict[str, float]


class TableKey(NamedTuple):
    """One lookup table among those of the same settings."""

    seed: int
    round: str
    """Whose detector it was made with: `initial`, or `strategies/NAME`."""
    cycle: int
    split: int


@dataclass(frozen=True)
class LookupTables:
    """All lookup tables of the same settings and the same distance, and the agents that learn from them."""

    table: str
    """Name of the settings, `default` for the experiment's own."""
    reward: str
    """Name of the distance's settings, `default` for the experiment's own."""
    distance: Distance
    strategies: tuple[str, ...]
    """Instances whose agents learn from these tables."""
    planned: int
    """Tables there would be of data that are not too sparse for some."""
    columns: Mapping[TableKey, dict[str, Array]]
    """Columns baseline, measured and the estimators of leave_one_out.csv, [variants]; only of tables that exist."""
    agreement: Mapping[Estimator, Mapping[TableKey, Array]]
    """The gain in mAP that the tables of the other splits predict, [variants]; empty for a single split."""

    @property
    def estimators(self) -> tuple[Estimator, ...]:
        """Those that the distance allows."""
        return estimators_of(self.distance)

    @property
    def name(self) -> str:
        """Name of both settings, for a heading."""
        return self.table if self.reward == DEFAULT else f"{self.table}, distance {self.reward}"


@dataclass(frozen=True)
class Results:
    """Everything that the report shows; keys are (seed, strategy, cycle)."""

    config: Config
    train: Dataset
    images: Images
    class_counts: npt.NDArray[np.int64]
    """[N, classes]: boxes of each class in each training image."""
    rounds: Mapping[tuple[int, str, int], Round]
    selections: Mapping[tuple[int, str, int], Selection]
    full: Mapping[int, Metrics]
    """Scores of the detector trained on all training images, by seed."""
    agents: Mapping[tuple[int, str, int], AgentRun]
    """None where the data were too sparse for one."""
    tables: tuple[LookupTables, ...]
    notes: DataNotes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label."""
        return tuple(category.name for category in self.train.categories)

    @property
    def baseline(self) -> str | None:
        """The instance that others are compared with: the first of type random; None without one."""
        return baseline_of(self.config)


def load_results(folder: Path, config: Config) -> Results:
    """Read the artefacts of an experiment; raises InputError naming the first that is missing or incomplete."""
    train = load_dataset(folder / "dataset" / "train.json")
    rounds: dict[tuple[int, str, int], Round] = {}
    selections: dict[tuple[int, str, int], Selection] = {}
    for seed in config.seeds:
        shared = _load_round(_cycle(folder, seed, INITIAL, 0), train)
        for strategy in config.strategies:
            rounds[seed, strategy, 0] = shared
            for cycle in range(1, config.cycles + 1):
                rounds[seed, strategy, cycle] = _load_round(_of_strategy(folder, seed, strategy, cycle), train)
            for cycle in range(config.cycles):
                place = _of_strategy(folder, seed, strategy, cycle)
                selections[seed, strategy, cycle] = _load_selection(place, train)
    images = load_images(folder / "dataset" / "train.npy", train, config.detector.image_canvas)
    return Results(
        config=config,
        train=train,
        images=images,
        class_counts=train.object_counts(train.image_ids),
        rounds=rounds,
        selections=selections,
        full={seed: _load_metrics(_cycle(folder, seed, "full", 0) / "metrics.json") for seed in config.seeds},
        agents=_load_agents(folder, config),
        tables=tuple(_load_tables(folder, config)),
        notes=load_notes(folder / "dataset", config, train, images),
    )


def table_rounds(config: Config, strategies: tuple[str, ...]) -> dict[tuple[str, int], int]:
    """Return the rounds in which the tables of these instances are made, and in each the number of reward splits."""
    rounds: dict[tuple[str, int], int] = {}
    for strategy in strategies:
        lut = config.strategies[strategy].lut
        cycles = config.cycles if lut.refresh == "every_cycle" else 1
        for place in [(f"strategies/{strategy}" if cycle else INITIAL, cycle) for cycle in range(cycles)]:
            rounds[place] = max(rounds.get(place, 0), lut.splits)
    return rounds


def _of_strategy(folder: Path, seed: int, strategy: str, cycle: int) -> Path:
    return _cycle(folder, seed, f"strategies/{strategy}", cycle)


def _cycle(folder: Path, seed: int, place: str, cycle: int) -> Path:
    return folder / f"seed{seed}" / place / f"cycle{cycle}"


def _load_round(folder: Path, train: Dataset) -> Round:
    labelled = _entries(folder / "labelled.json", ("images",))["images"]
    return Round(train.rows(labelled), _load_metrics(folder / "metrics.json"))


def _load_metrics(path: Path) -> Metrics:
    names = ("map", "ap50", "ap75", *SIZES)
    values = _entries(path, (*names, "images", "boxes", "per_class"))
    voc = tuple(name for name in VOC_SCORES if name in values)
    per_class = tuple(
        ClassScore(
            str(entry["name"]), {name: _score(entry[name]) for name in ("map", "ap50", *voc)}, int(entry["boxes"])
        )
        for entry in values["per_class"]
    )
    scores = {name: _score(values[name]) for name in (*names, *voc)}
    return Metrics(scores, int(values["images"]), int(values["boxes"]), per_class)


def _load_selection(folder: Path, train: Dataset) -> Selection:
    values = _entries(folder / "selection.json", ("images", "scores", "forward_passes"))
    scores = np.asarray(values["scores"], dtype=np.float64)
    return Selection(train.rows(values["images"]), scores, int(values["forward_passes"]), values.get(REASON))


def _load_agents(folder: Path, config: Config) -> dict[tuple[int, str, int], AgentRun]:
    columns = ("episode", "reward", "best", "random_reward", "random_best")
    keys = (
        "selected_reward",
        "random_mean",
        "random_std",
        "random_batches",
        "standard_deviations_above",
        "held_out_gain",
        "baseline_map",
        "random_best_as_often",
    )
    agents = {}
    for seed, strategy, cycle in product(config.seeds, config.agents, range(config.cycles)):
        place = _of_strategy(folder, seed, strategy, cycle)
        if REASON in read_json(place / "agent.json"):
            continue
        summary = _entries(place / "agent.json", keys)
        agents[seed, strategy, cycle] = AgentRun(
            _columns(place / "agent.csv", columns), {key: _score(summary[key]) for key in keys}
        )
    return agents


def _load_tables(folder: Path, config: Config) -> Iterator[LookupTables]:
    users: dict[tuple[str, str], list[str]] = defaultdict(list)
    for strategy in config.agents:
        users[config.name_of("table", strategy), config.name_of("reward", strategy)].append(strategy)
    for (table, reward), strategies in users.items():
        # Estimators read the same table; its distance is that of every instance that uses it.
        settings = config.strategies[strategies[0]].reward
        rounds = table_rounds(config, tuple(strategies))
        folders = {
            TableKey(seed, place, cycle, split): _cycle(folder, seed, place, cycle)
            / "tables"
            / table
            / f"split{split}"
            / reward
            for seed in config.seeds
            for (place, cycle), splits in rounds.items()
            for split in range(splits)
        }
        names = ("baseline", "measured", *estimators_of(settings.distance))
        columns = {key: _columns(place / "leave_one_out.csv", names) for key, place in folders.items()}
        made = {key: of_table for key, of_table in columns.items() if len(of_table["measured"])}
        yield LookupTables(
            table=table,
            reward=reward,
            distance=settings.distance,
            strategies=tuple(strategies),
            planned=len(folders),
            columns=made,
            agreement=_load_agreement({key: folders[key] for key in made}, settings),
        )


def _load_agreement(folders: Mapping[TableKey, Path], reward: RewardConfig) -> dict[Estimator, dict[TableKey, Array]]:
    """Compare the tables of each round; those of one split have none to be compared with."""
    of_round: dict[tuple[int, str, int], list[TableKey]] = defaultdict(list)
    for key in folders:
        of_round[key[:3]].append(key)
    found: dict[Estimator, dict[TableKey, Array]] = {}
    for estimator in estimators_of(reward.distance):
        by_estimator = reward.model_copy(update={"estimator": estimator})
        for keys in of_round.values():
            if len(keys) > 1:
                tables = [folders[key] / "table.safetensors" for key in keys]
                gains = predict_each_other(tables, by_estimator)
                found.setdefault(estimator, {}).update(zip(keys, gains, strict=True))
    return found


def _entries(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    values = read_json(path)
    missing = [key for key in keys if not isinstance(values, dict) or key not in values]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; delete it and run the step that makes it")
    return dict(values)


def _columns(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    rows = read_csv(path)
    try:
        return {name: np.array([float(row[name]) for row in rows], dtype=np.float64) for name in names}
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run the step that makes it") from None


def _score(value: float | None) -> float:
    return float("nan") if value is None else float(value)
