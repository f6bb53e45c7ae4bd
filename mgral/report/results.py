"""What the report reads: every artefact of an experiment that it shows, checked and as tables."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mgral.artefacts.files import NOTE, REASON, read_json
from mgral.artefacts.integrity import read_verified
from mgral.config import DEFAULT, Config, Distance, Estimator, RewardConfig
from mgral.data.dataset import Dataset, load_dataset
from mgral.data.derive import load_settings, settings_lines
from mgral.data.images import Images, load_images
from mgral.errors import InputError
from mgral.evaluation.coco import SCORES
from mgral.evaluation.voc import VOC_SCORES
from mgral.method.lut.agreement import GainComparison, predict_by_counts, predict_each_other
from mgral.method.lut.estimators import estimators_of
from mgral.report.data import DataNotes, load_notes
from mgral.report.detectors import FULL_DATA, ROUND, DetectorScores
from mgral.report.devices import devices_used
from mgral.selection.pool import load_labelled
from mgral.selection.spending import prices

TABLE = ["table", "reward", "seed", "round", "cycle", "split"]
"""Columns that name a lookup table: its two settings, and whose detector it was made with."""
INITIAL = "initial"
"""Folder of the round that all strategies start from."""
COUNTS_ALONE = "counts_alone"
"""Stands in the place of an estimator where variants are predicted by object counts, without what tables learn."""
EPISODE = ("episode", "reward", "best", "random_reward", "random_best")
AGENT = (
    "selected_reward",
    "greedy_reward",
    "random_mean",
    "random_std",
    "random_batches",
    "standard_deviations_above",
    "held_out_gain",
    "p_value",
    "baseline_map",
    "random_best_as_often",
)
BATCH = ("rows", "scores", "images", "forward_passes", "pool", "reason", "note")
CLASS_BOXES = ("label", "class", "chosen", "left")
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class LookupTables:
    """All lookup tables of the same settings and the same distance, and the strategies that choose by them."""

    table: str
    """Name of the settings, `default` for the experiment's own."""
    reward: str
    """Name of the distance's settings, `default` for the experiment's own."""
    distance: Distance
    strategies: tuple[str, ...]
    """Instances that choose by these tables."""
    planned: int
    """Tables that there would be if the data were too sparse for none."""
    variants: pd.DataFrame
    """A row for each variant of the tables that exist: `TABLE`, variant, baseline, measured and, by the name of each
    estimator, the mAP that it predicts from the other variants."""
    agreement: pd.DataFrame
    """The same variants once for each estimator: the measured gain in mAP, and the one that the tables of the other
    splits predict; without rows for a single split."""

    @property
    def made(self) -> int:
        """Tables that exist."""
        return int(self.variants.groupby(TABLE).ngroups)

    @property
    def estimators(self) -> tuple[Estimator, ...]:
        """Those that the distance allows."""
        return estimators_of(self.distance)

    @property
    def name(self) -> str:
        """Name of both settings, for a heading."""
        return self.table if self.reward == DEFAULT else f"{self.table}, distance {self.reward}"


@dataclass(frozen=True)
class Results(DetectorScores):
    """Everything that the report shows."""

    train: Dataset
    images: Images
    class_counts: npt.NDArray[np.int64]
    """[N, classes]: boxes of each class in each training image."""
    test_images: int
    test_boxes: int
    class_scores: pd.DataFrame
    """A row for each class and detector of the last cycle or of all labels: strategy, seed, name, boxes, scores."""
    batches: pd.DataFrame
    """A row for each batch: `ROUND`, lists of the rows of the training set and their scores, best first, images,
    forward_passes, pool (images that were unlabelled), the reason if the strategy had to draw at random, and
    a note if it chose in another way than usual."""
    class_boxes: pd.DataFrame
    """A row for each choice and class: `ROUND`, label, class, chosen and left: boxes in the batch and in the pool."""
    agents: pd.DataFrame
    """A row for each agent: `ROUND` and its summary; none where the data were too sparse for one."""
    episodes: pd.DataFrame
    """A row for each episode of these agents."""
    tables: tuple[LookupTables, ...]
    notes: DataNotes
    settings: Mapping[int, Config]
    """The experiment as each seed has it: with what was derived from the data."""
    derived: Mapping[int, tuple[str, ...]]
    """Lines on these settings by seed; none where nothing was derived."""
    devices: str
    """Which steps ran on which GPU; empty where none did."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label."""
        return tuple(category.name for category in self.train.categories)


def load_results(folder: Path, config: Config) -> Results:
    """Read the artefacts of an experiment; raises InputError naming the first that is missing or incomplete."""
    train = load_dataset(folder / "dataset" / "train.json")
    settings = {seed: load_settings(config, folder, seed) for seed in config.seeds}
    first_config = settings[config.seeds[0]]
    images = load_images(folder / "dataset" / "train.npy", train, first_config.detector.image_canvas)
    counts = train.object_counts(train.image_ids)
    price = prices(counts.sum(axis=1))
    initial = {seed: _load_detector(_cycle_folder(folder, seed, INITIAL, 0), train) for seed in config.seeds}
    full: Rows = []
    rounds: Rows = []
    batches: Rows = []
    classes: Rows = []
    for strategy, seed, cycle in product(config.strategies, config.seeds, range(config.cycles + 1)):
        key = {"strategy": strategy, "cycle": cycle, "seed": seed}
        cycle_folder = _strategy_folder(folder, seed, strategy, cycle)
        labelled, metrics = _load_detector(cycle_folder, train) if cycle else initial[seed]
        rounds.append({**key, "images": len(labelled), "boxes": int(price[labelled].sum()), **_scores(metrics)})
        if cycle < config.cycles:
            labelled_after = load_labelled(_strategy_folder(folder, seed, strategy, cycle + 1) / "labelled.json")
            batches.append(
                {**key, **_load_batch(cycle_folder / "selection.json", train, counts, labelled, labelled_after)}
            )
        else:
            classes += _class_scores(metrics, strategy, seed)
    for seed in config.seeds:
        metrics = _load_metrics(_cycle_folder(folder, seed, "full", 0))
        totals = {"images": len(train.image_ids), "boxes": int(price.sum())}
        full.append({"strategy": FULL_DATA, "seed": seed, **totals, **_scores(metrics)})
        classes += _class_scores(metrics, FULL_DATA, seed)
    all_batches = pd.DataFrame(batches, columns=[*ROUND, *BATCH, *CLASS_BOXES])
    agents, episodes = _load_agents(folder, config)
    return Results(
        config=config,
        train=train,
        images=images,
        class_counts=counts,
        rounds=pd.DataFrame(rounds),
        full=pd.DataFrame(full),
        test_images=metrics["images"],
        test_boxes=metrics["boxes"],
        class_scores=pd.DataFrame(classes),
        batches=all_batches[[*ROUND, *BATCH]],
        class_boxes=all_batches[[*ROUND, *CLASS_BOXES]].explode(list(CLASS_BOXES), ignore_index=True).infer_objects(),
        agents=agents,
        episodes=episodes,
        tables=_load_tables(folder, config),
        notes=load_notes(folder / "dataset", first_config, train, images),
        settings=settings,
        derived=_derived_lines(folder, config, settings, train) if config.open_keys else {},
        devices=devices_used(folder),
    )


def _derived_lines(
    folder: Path, config: Config, settings: Mapping[int, Config], train: Dataset
) -> dict[int, tuple[str, ...]]:
    """Return by seed the lines on what was derived: what its settings have and `config` leaves open."""
    files = {seed: _cycle_folder(folder, seed, INITIAL, 0) / "labelled.json" for seed in settings}
    return {
        seed: tuple(settings_lines(config, derived, train, load_labelled(files[seed])))
        for seed, derived in settings.items()
    }


def table_rounds(config: Config, strategies: tuple[str, ...]) -> dict[tuple[str, int], int]:
    """Return the rounds in which the tables of these instances are made, and in each the number of reward splits."""
    rounds: dict[tuple[str, int], int] = {}
    for strategy in strategies:
        lut = config.strategies[strategy].lut
        cycles = config.cycles if lut.refresh == "every_cycle" else 1
        for key in [(f"strategies/{strategy}" if cycle else INITIAL, cycle) for cycle in range(cycles)]:
            rounds[key] = max(rounds.get(key, 0), lut.splits)
    return rounds


def notes_of(results: Results) -> dict[str, list[str]]:
    """Return, for each round of each strategy, how it chose if not in its usual way; otherwise an empty text."""
    at_random = "the batch was drawn at random: " + results.batches["reason"]
    texts = results.batches["note"].fillna(at_random).fillna("")
    return {str(name): notes.tolist() for name, notes in texts.groupby(results.batches["strategy"], sort=False)}


def images_labelled(results: Results, strategies: tuple[str, ...], cycle: int) -> int:
    """Return how many images are labelled in a cycle, in the mean of strategies and seeds.

    They are the same for all where the budget is in images.
    """
    rounds = results.rounds
    return round(rounds.loc[rounds["strategy"].isin(strategies) & (rounds["cycle"] == cycle), "images"].mean())


def _strategy_folder(folder: Path, seed: int, strategy: str, cycle: int) -> Path:
    return _cycle_folder(folder, seed, f"strategies/{strategy}", cycle)


def _cycle_folder(folder: Path, seed: int, round_name: str, cycle: int) -> Path:
    return folder / f"seed{seed}" / round_name / f"cycle{cycle}"


def _load_detector(folder: Path, train: Dataset) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
    """Return the rows of the images that it was trained on, and its metrics."""
    return train.rows(_read_entries(folder / "labelled.json", ("images",))["images"]), _load_metrics(folder)


def _load_metrics(folder: Path) -> dict[str, Any]:
    return _read_entries(folder / "metrics.json", (*SCORES, "images", "boxes", "per_class"))


def _load_batch(
    path: Path,
    train: Dataset,
    counts: npt.NDArray[np.int64],
    labelled: npt.NDArray[np.int64],
    labelled_after: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """Return the columns `BATCH` and, as lists of all classes, `CLASS_BOXES`.

    Only the chosen images that were then labelled count: a budget in boxes may not pay for all of them.
    """
    selection = _read_entries(path, ("images", "scores", "forward_passes"))
    paid = np.isin(selection["images"], labelled_after)
    rows, scores = train.rows(selection["images"])[paid], np.array(selection["scores"])[paid].tolist()
    pool = len(counts) - len(labelled)
    batch = (
        rows,
        scores,
        len(rows),
        int(selection["forward_passes"]),
        pool,
        selection.get(REASON),
        selection.get(NOTE),
    )
    labels, names = zip(*enumerate(category.name for category in train.categories), strict=True)
    pool_boxes = counts.sum(axis=0) - counts[labelled].sum(axis=0)
    boxes = (labels, names, counts[rows].sum(axis=0), pool_boxes)
    return dict(zip((*BATCH, *CLASS_BOXES), (*batch, *boxes), strict=True))


def _scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of a detector or a class, and those by VOC's rules if it has them; null becomes NaN."""
    return {name: _number(metrics[name]) for name in (*SCORES, *VOC_SCORES) if name in metrics}


def _class_scores(metrics: Mapping[str, Any], strategy: str, seed: int) -> Rows:
    return [
        {
            "strategy": strategy,
            "seed": seed,
            "label": label,
            "name": class_metrics["name"],
            "boxes": class_metrics["boxes"],
            **_scores(class_metrics),
        }
        for label, class_metrics in enumerate(metrics["per_class"])
    ]


def _load_agents(folder: Path, config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    agents: Rows = []
    episodes = [pd.DataFrame(columns=[*ROUND, *EPISODE])]
    for seed, strategy, cycle in product(config.seeds, config.agents, range(config.cycles)):
        cycle_folder = _strategy_folder(folder, seed, strategy, cycle)
        if REASON in read_json(cycle_folder / "agent.json"):
            continue
        key: dict[str, Any] = {"strategy": strategy, "cycle": cycle, "seed": seed}
        summary = _read_entries(cycle_folder / "agent.json", AGENT)
        agents.append({**key, **{name: _number(summary[name]) for name in AGENT}})
        episodes.append(_read_columns(cycle_folder / "agent.csv", EPISODE).assign(**key).astype({"episode": int}))
    return pd.DataFrame(agents, columns=[*ROUND, *AGENT]), pd.concat(episodes[1:] or episodes)


def _load_tables(folder: Path, config: Config) -> tuple[LookupTables, ...]:
    users: dict[tuple[str, str], list[str]] = defaultdict(list)
    for strategy in config.with_tables:
        users[config.name_of("table", strategy), config.name_of("reward", strategy)].append(strategy)
    return tuple(
        _load_lookup_tables(folder, config, *names, tuple(strategies)) for names, strategies in users.items()
    )


def _load_lookup_tables(
    folder: Path, config: Config, table: str, reward: str, users: tuple[str, ...]
) -> LookupTables:
    # Estimators read the same table; its distance is that of every instance that uses it.
    settings = config.strategies[users[0]].reward
    names = ("baseline", "measured", *estimators_of(settings.distance))
    parts = []
    for seed, ((round_name, cycle), splits) in product(config.seeds, table_rounds(config, users).items()):
        for split in range(splits):
            table_folder = (
                _cycle_folder(folder, seed, round_name, cycle) / "tables" / table / f"split{split}" / reward
            )
            rows = _read_columns(table_folder / "leave_one_out.csv", names)
            key: dict[str, Any] = dict(zip(TABLE, (table, reward, seed, round_name, cycle, split), strict=True))
            parts.append(
                rows.assign(**key, variant=range(1, len(rows) + 1), file=str(table_folder / "table.safetensors"))
            )
    variants = pd.concat(parts, ignore_index=True)
    return LookupTables(
        table, reward, settings.distance, users, len(parts), variants, _load_agreement(variants, settings)
    )


def _load_agreement(variants: pd.DataFrame, reward: RewardConfig) -> pd.DataFrame:
    """Compare the tables of each round; one alone has none to be compared with."""
    parts = [pd.DataFrame(columns=[*TABLE, "variant", "estimator", "measured", "predicted"])]
    for estimator in estimators_of(reward.distance):
        by_estimator = reward.model_copy(update={"estimator": estimator})
        for _, round_variants in variants.groupby(["seed", "round", "cycle"], sort=False):
            files = [Path(file) for file in round_variants["file"].unique()]
            if len(files) > 1:
                compared: dict[str, list[GainComparison]] = {estimator: predict_each_other(files, by_estimator)}
                if estimator == "regression":
                    compared[COUNTS_ALONE] = predict_by_counts(files, by_estimator)
                for name, comparisons in compared.items():
                    measured, predicted = (np.concatenate(values) for values in zip(*comparisons, strict=True))
                    parts.append(round_variants.assign(estimator=name, measured=measured, predicted=predicted))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _read_entries(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """Read a JSON object; raise InputError where it lacks one of the keys."""
    values = read_json(path)
    missing = [key for key in keys if not isinstance(values, dict) or key not in values]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; delete it and run the step that makes it")
    return dict(values)


def _read_columns(path: Path, names: tuple[str, ...]) -> pd.DataFrame:
    """Read columns of numbers; an empty cell is damage."""
    try:
        content = BytesIO(read_verified(path))
        return pd.read_csv(content, usecols=names, dtype=np.float64, keep_default_na=False, na_values="nan")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the step that makes it") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run the step that makes it") from None


def _number(value: float | None) -> float:
    """Return a number of a JSON file, of which null becomes NaN."""
    return float("nan") if value is None else float(value)
