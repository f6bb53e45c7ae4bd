"""What the report reads: every artefact of an experiment that it shows, checked and as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_csv, read_json
from mgral.config import (
    AgentConfig,
    DataConfig,
    DetectorConfig,
    Estimator,
    IterationsConfig,
    LutConfig,
    RewardConfig,
    SemiSupervisedConfig,
    TrainingConfig,
)
from mgral.data.dataset import Dataset, load_dataset
from mgral.data.images import Images, load_images
from mgral.errors import InputError
from mgral.evaluation.voc import VOC_SCORES
from mgral.method.lut.agreement import predict_each_other
from mgral.method.lut.estimators import estimators_of

Array = npt.NDArray[np.float64]
SIZES = ("ap_small", "ap_medium", "ap_large")


@dataclass(frozen=True)
class Settings:
    """The parts of the configuration that the report shows or that say which artefacts there are."""

    experiment: str
    seeds: tuple[int, ...]
    strategies: tuple[str, ...]
    cycles: int
    initial: int
    budget: int
    data: DataConfig
    detector: DetectorConfig
    training: TrainingConfig
    iterations: IterationsConfig
    semi_supervised: SemiSupervisedConfig
    lut: LutConfig
    reward: RewardConfig
    agent: AgentConfig


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


@dataclass(frozen=True)
class AgentRun:
    """The training of one agent: its learning curve by column [episodes], its summary, and its table's accuracy."""

    curve: dict[str, Array]
    summary: dict[str, float]


@dataclass(frozen=True)
class Results:
    """Everything that the report shows; keys are (seed, strategy, cycle), or (seed, cycle) of mgral."""

    settings: Settings
    train: Dataset
    images: Images
    class_counts: npt.NDArray[np.int64]
    """[N, classes]: boxes of each class in each training image."""
    rounds: Mapping[tuple[int, str, int], Round]
    selections: Mapping[tuple[int, str, int], Selection]
    full: Mapping[int, Metrics]
    """By seed: the detector trained on every training image."""
    agents: Mapping[tuple[int, int], AgentRun]
    tables: Mapping[tuple[int, int, int], dict[str, Array]]
    """By (seed, cycle, split): columns baseline, measured and the estimators of leave_one_out.csv, [variants]."""
    agreement: Mapping[Estimator, Mapping[tuple[int, int, int], Array]]
    """By estimator and (seed, cycle, split), of several splits: the gain in mAP that the others' tables predict,
    [variants]."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label."""
        return tuple(category.name for category in self.train.categories)


def load_results(folder: Path, settings: Settings) -> Results:
    """Read the artefacts of an experiment; raises InputError naming the first that is missing or incomplete."""
    train = load_dataset(folder / "dataset" / "train.json")
    rounds: dict[tuple[int, str, int], Round] = {}
    selections: dict[tuple[int, str, int], Selection] = {}
    for seed in settings.seeds:
        shared = _load_round(folder / f"seed{seed}" / "initial" / "cycle0", train)
        for strategy in settings.strategies:
            rounds[seed, strategy, 0] = shared
            for cycle in range(1, settings.cycles + 1):
                rounds[seed, strategy, cycle] = _load_round(_cycle(folder, seed, strategy, cycle), train)
            for cycle in range(settings.cycles):
                selections[seed, strategy, cycle] = _load_selection(_cycle(folder, seed, strategy, cycle), train)
    return Results(
        settings=settings,
        train=train,
        images=load_images(folder / "dataset" / "train.npy", train, settings.detector.image_canvas),
        class_counts=train.object_counts(train.image_ids),
        rounds=rounds,
        selections=selections,
        full={seed: _load_metrics(_cycle(folder, seed, "full", 0) / "metrics.json") for seed in settings.seeds},
        agents=_load_agents(folder, settings),
        tables=_load_tables(folder, settings),
        agreement=_load_agreement(folder, settings),
    )


def _cycle(folder: Path, seed: int, strategy: str, cycle: int) -> Path:
    return folder / f"seed{seed}" / strategy / f"cycle{cycle}"


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
    return Selection(train.rows(values["images"]), scores, int(values["forward_passes"]))


def _load_agents(folder: Path, settings: Settings) -> dict[tuple[int, int], AgentRun]:
    if "mgral" not in settings.strategies:
        return {}
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
    for seed in settings.seeds:
        for cycle in range(settings.cycles):
            place = _cycle(folder, seed, "mgral", cycle)
            summary = _entries(place / "agent.json", keys)
            agents[seed, cycle] = AgentRun(
                _columns(place / "agent.csv", columns), {key: _score(summary[key]) for key in keys}
            )
    return agents


def _load_tables(folder: Path, settings: Settings) -> dict[tuple[int, int, int], dict[str, Array]]:
    columns = ("baseline", "measured", *estimators_of(settings.reward.distance))
    return {
        (seed, cycle, split): _columns(table / "leave_one_out.csv", columns)
        for (seed, cycle), tables in _table_folders(folder, settings).items()
        for split, table in enumerate(tables)
    }


def _load_agreement(folder: Path, settings: Settings) -> dict[Estimator, dict[tuple[int, int, int], Array]]:
    folders = _table_folders(folder, settings)
    if settings.lut.splits == 1 or not folders:
        return {}
    rewards = {
        estimator: settings.reward.model_copy(update={"estimator": estimator})
        for estimator in estimators_of(settings.reward.distance)
    }
    return {
        estimator: {
            (seed, cycle, split): gains
            for (seed, cycle), tables in folders.items()
            for split, gains in enumerate(predict_each_other([t / "table.safetensors" for t in tables], reward))
        }
        for estimator, reward in rewards.items()
    }


def _table_folders(folder: Path, settings: Settings) -> dict[tuple[int, int], list[Path]]:
    """Return the folders of the tables of all splits, by seed and cycle; none without strategy mgral."""
    if "mgral" not in settings.strategies:
        return {}
    cycles = range(settings.cycles) if settings.lut.refresh == "every_cycle" else range(1)
    return {
        (seed, cycle): [
            _cycle(folder, seed, "mgral", cycle) / "lut" / f"split{split}" for split in range(settings.lut.splits)
        ]
        for seed in settings.seeds
        for cycle in cycles
    }


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
