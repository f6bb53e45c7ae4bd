"""What an experiment will cost, before it runs: jobs, images that pass through a detector, disk, hours.

Jobs are those of Snakemake's plan. Hours follow from measured speeds only.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mgral.artefacts.files import read_json
from mgral.config import (
    BudgetConfig,
    CocoData,
    Config,
    LutConfig,
    SyntheticData,
    download_of,
    images_in,
    registry,
    require_set,
)
from mgral.data.dataset import as_dataset
from mgral.data.derive import DERIVED, derive_settings, load_settings
from mgral.data.download.archives import DATA_SETS
from mgral.data.findings import Findings
from mgral.data.formats.coco import load_lists
from mgral.data.read import data_folder, read_splits
from mgral.engine.container import picture_roots
from mgral.engine.data_files import annotation_files
from mgral.engine.needs import check_data
from mgral.engine.plan import EVERY_JOB, PlannedJob, plan_jobs
from mgral.engine.steps import STEPS
from mgral.engine.workflow import with_names
from mgral.errors import InputError
from mgral.method.lut.plan import rewards_of_pool, sizes_of
from mgral.selection.pool import draw_initial
from mgral.selection.spending import LEAST_PRICE
from mgral.training.length import detector_iterations

PUBLISHED = {"voc2007+2012": (16551, 4952, 20), "coco2017": (118287, 5000, 80)}
"""Training images, test images and classes of the data sets that can be downloaded, by `data.download`."""
COCO_WITH_BOXES = 117266
"""COCO's training images that contain a box to learn from."""
SYNTHETIC_CLASSES = 6


class Sizes(NamedTuple):
    """Sizes of a data set."""

    train: int
    test: int
    classes: int
    boxes: int | None = None
    """Of the training images; None where they are not known."""


class Work(NamedTuple):
    """What a job does, or all jobs of a step."""

    jobs: int
    trained: int = 0
    """Images of all training batches together."""
    seen: int = 0
    """Images that go through a detector without learning: evaluated, embedded, scored."""
    episodes: int = 0
    """Episodes of the agent's training."""


def find_sizes(config: Config, results: Path) -> Sizes:
    """Return the size of an experiment's data set: as read, if it has been, else as configured, listed or published.

    Raises
    ------
    InputError
        Where nothing says it, or the data set has faults.
    """
    data = config.data
    split_files = [results / "dataset" / f"{split}.json" for split in ("train", "test")]
    if isinstance(data, SyntheticData):
        return Sizes(data.train_images, data.test_images, SYNTHETIC_CLASSES)
    if all(path.exists() for path in split_files):
        return _sizes_of(*map(read_json, split_files))
    download = download_of(data)
    if download is not None:
        published = Sizes(*PUBLISHED[download])
        with_boxes = isinstance(data, CocoData) and data.pool == "with_boxes"
        return published._replace(train=COCO_WITH_BOXES) if with_boxes else published
    try:
        root = data_folder(data, None)
    except InputError:
        raise InputError(
            f"the number of images of the data set is not known yet; give --sizes TRAIN TEST CLASSES, or run "
            f"`snakemake {split_files[0]}` with this configuration first"
        ) from None
    files = [Path(file) for file in annotation_files(config)]
    if data.format == "coco" and all(path.is_file() for path in files):
        findings = Findings()
        contents = [load_lists(path, findings) for path in files]
        findings.raise_faults()
        return _sizes_of(*contents)
    splits = read_splits(data, root)
    return _sizes_of(splits.train, splits.test)


def derive_here(config: Config, results: Path) -> Config | None:
    """Return the experiment with the settings of its first seed, where they were derived or the data are there.

    Where they are not, and something is to be derived, return None.
    """
    seed = config.seeds[0]
    if not config.open_keys or (results / f"seed{seed}" / DERIVED).exists():
        return load_settings(config, results, seed)
    try:
        splits = read_splits(config.data, data_folder(config.data, None))
    except InputError:
        return None
    train, test = as_dataset(splits.train), as_dataset(splits.test)
    labelled_ids = splits.labelled
    labelled = draw_initial(train.image_ids, config.initial, seed) if labelled_ids is None else np.array(labelled_ids)
    return derive_settings(config, train, test, labelled)


def _sizes_of(train: Mapping[str, Any], test: Mapping[str, Any]) -> Sizes:
    return Sizes(len(train["images"]), len(test["images"]), len(train["categories"]), len(train["annotations"]))


def planned_in_images(config: Config, sizes: Sizes) -> Config:
    """Return the experiment with images in the place of a budget in boxes, as many as these are likely to pay.

    Where the boxes of the training images are not known, they are as many as the boxes can pay at most.
    """
    if not isinstance(config.budget, BudgetConfig):
        return config
    price = max(LEAST_PRICE, (sizes.boxes or 0) / sizes.train)
    most = (sizes.train - config.initial) // config.cycles
    return config.model_copy(update={"budget": max(1, min(round(config.budget.amount / price), most))})


def work_of_jobs(config: Config, sizes: Sizes, jobs: Iterable[PlannedJob]) -> list[Work]:
    """Return what each planned job does."""
    config = planned_in_images(config, sizes)
    return [_work_of(job, with_names(config, job.wildcards), sizes) for job in jobs]


def plan_work(config: Config, sizes: Sizes, jobs: Sequence[PlannedJob]) -> dict[str, Work]:
    """Return what the planned jobs of each step do, in the order of `STEPS`, steps without jobs left out."""
    by_step: dict[str, list[Work]] = defaultdict(list)
    for job, work in zip(jobs, work_of_jobs(config, sizes, jobs), strict=True):
        by_step[job.rule].append(work)
    return {step: Work(*map(sum, zip(*by_step[step], strict=True))) for step in STEPS if step in by_step}


def plan_experiment(files: Sequence[Path], config: Config, sizes: Sizes | None) -> list[PlannedJob]:
    """Return every job of an experiment from nothing.

    Where its data are not there, but their sizes are given, synthetic data of these sizes stand in for them.
    """
    options = [*EVERY_JOB, "--configfile", *map(str, files)]
    try:
        check_data(config)
    except InputError:
        if sizes is None:
            raise
        data = f"data={{format: synthetic, train_images: {sizes.train}, test_images: {sizes.test}}}"
        detector = f"detector={{name: {config.detector.name}}}"
        return [job for job in plan_jobs(*options, "--config", data, detector) if job.rule != "synthesize"]
    return plan_jobs(*options)


def _work_of(job: PlannedJob, config: Config, sizes: Sizes) -> Work:
    """Return what one job does, with the settings of its own strategy or table."""
    lut = config.lut
    full = job.wildcards.get("round") == "full"
    labelled = sizes.train if full else config.initial + int(job.wildcards.get("cycle", 0)) * images_in(config.budget)
    pool, gives = sizes.train - labelled, config.detector.command_gives
    match job.rule:
        case "detector" | "head":
            return Work(1, trained=detector_images(config, labelled))
        case "evaluate":
            return Work(1, seen=sizes.test if gives is None else 0)
        case "embed":
            return Work(1, seen=0 if "features" in (gives or ()) else sizes.train)
        case "pseudo_labels":
            return Work(1, seen=pool)
        case "base":
            return Work(1, trained=base_images(config))
        case "variant":
            first, last = int(job.wildcards["first"]), int(job.wildcards["last"])
            trained = sum(variant_images(config, variant, labelled) for variant in range(first, last + 1))
            return Work(1, trained=trained, seen=(last + 1 - first) * reward_images(lut, labelled, sizes.train))
        case "agent":
            return Work(1, episodes=config.agent.episodes)
        case "select":
            info = registry.strategy(config.strategies[job.wildcards["strategy"]].type)
            # Too low for strategies that also use labelled images (pal, cdal), or a part of the pool twice (ppal).
            return Work(1, seen=info.views * pool if info.runs_detector and gives is None else 0)
    return Work(1)


def detector_images(config: Config, labelled: int) -> int:
    """Return the images of the training batches of a detector, given how many images are labelled."""
    return config.training.batch_size * detector_iterations(config, labelled)


def table_images(config: Config, labelled: int) -> int:
    """Return the images of all training batches behind a lookup table."""
    return base_images(config) + sum(variant_images(config, k, labelled) for k in range(config.lut.variants + 1))


def base_images(config: Config) -> int:
    """Return the images of the training batches of a base; variants that start anew have none."""
    if config.lut.start == "cold":
        return 0
    return config.training.batch_size * require_set(config.iterations.base, "iterations.base")


def variant_images(config: Config, variant: int, labelled: int) -> int:
    """Return the images of the training batches of a variant; 0 has no subset to learn from."""
    lut, iterations = config.lut, config.iterations
    if lut.labels == "labels" and lut.start == "cold":
        sizes = [0, *sizes_of(labelled - reward_images(lut, labelled, labelled), lut.variants)]
        return detector_images(config, sizes[variant]) if variant else 0
    consistent = lut.labels == "consistency" and variant > 0
    unlabelled = config.semi_supervised.batch_size if consistent else 0
    steps = require_set(iterations.variant, "iterations.variant")
    steps += require_set(iterations.base, "iterations.base") if lut.start == "cold" else 0
    return steps * (config.training.batch_size + unlabelled)


def reward_images(lut: LutConfig, labelled: int, train_images: int) -> int:
    """Return on how many images a variant is measured."""
    if lut.labels == "pseudo_labels":
        return rewards_of_pool(lut, train_images - labelled)
    return round(lut.reward_fraction * labelled)


def estimate_disk(config: Config, sizes: Sizes, work: Mapping[str, Work], detector_bytes: int) -> dict[str, int]:
    """Return the bytes of what takes most of the disk, the data set itself left out; detections at their most."""
    lut = config.lut
    subset_size = lut.subset_size or images_in(planned_in_images(config, sizes).budget)
    if lut.labels == "labels" and lut.start == "cold":
        subset_size = config.initial - reward_images(lut, config.initial, sizes.train)
    dimensions = min(config.embedding.dimensions, sizes.train) + sizes.classes
    columns = sizes.classes if config.reward.distance == "by_class" else dimensions + config.reward.projections
    result = {"image_id": sizes.test, "category_id": sizes.classes, "bbox": [1000.25] * 4, "score": 0.12345}
    detection_bytes = len(json.dumps([result], indent=1))
    jobs = {step: step_work.jobs for step, step_work in work.items()}
    return {
        "image cache": _cache_bytes(config, sizes),
        "weights": (jobs.get("detector", 0) + jobs.get("base", 0)) * detector_bytes,
        "embeddings": jobs.get("embed", 0) * sizes.train * (4 * dimensions + 8),
        "tables": jobs.get("table", 0) * lut.variants * subset_size * 4 * columns,
        "detections": jobs["evaluate"] * sizes.test * config.evaluation.max_detections * detection_bytes,
    }


def _cache_bytes(config: Config, sizes: Sizes) -> int:
    if config.detector.caches_files:
        return _file_bytes(config)
    canvas = config.detector.image_canvas
    return (sizes.train + sizes.test) * 3 * canvas.width * canvas.height


def _file_bytes(config: Config) -> int:
    """Return the bytes of the image files; of a data set to download those of its archives, which are hardly more."""
    data = config.data
    if isinstance(data, SyntheticData):
        return 0
    download = download_of(data)
    if download is not None:
        return sum(folder.bytes for folder in DATA_SETS[download])
    roots = picture_roots(data)
    images = (path for root in roots for path in root.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return sum(path.stat().st_size for path in images)


@dataclass(frozen=True)
class Speeds:
    """What was measured; None where it was not."""

    rates: Mapping[str, float]
    """Measured speeds: training_images_a_second, inference_images_a_second, steps_a_second (of the agent)."""
    seconds: Mapping[str, tuple[float, Work]]
    """Wall seconds of a step's jobs in a finished run, and what they did."""

    def hours(self, step: str, work: Work) -> float | None:
        """Return the hours of a step's jobs, one after the other; None where a speed is not known."""
        if step in self.seconds:
            wall, measured = self.seconds[step]
            return wall / 3600 * _passes(work) / _passes(measured)
        parts = {
            "training_images_a_second": work.trained,
            "inference_images_a_second": work.seen,
            "steps_a_second": work.episodes,
        }
        needed = {name: amount for name, amount in parts.items() if amount}
        if not needed or not needed.keys() <= self.rates.keys():
            return None
        return sum(amount / self.rates[name] for name, amount in needed.items()) / 3600


def _passes(work: Work) -> int:
    """Return what the time of a step grows with: images or episodes if it has any, else jobs."""
    return work.trained + work.seen + work.episodes or work.jobs
