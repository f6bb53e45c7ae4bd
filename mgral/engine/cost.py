"""What an experiment will cost, before it runs: jobs, images that pass through a detector, disk, hours.

Counts follow from the configuration as the rules do, and a test holds them against Snakemake's plan. Hours follow
from measured speeds only.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mgral.config import CocoData, Config, IterationsConfig, LutConfig, SemiSupervisedConfig, SyntheticData, registry
from mgral.data.download.archives import DATA_SETS
from mgral.engine.steps import STEPS
from mgral.engine.workflow import annotation_files, downloads, variant_jobs
from mgral.errors import InputError
from mgral.method.lut.plan import rewards_of_pool
from mgral.training.length import detector_iterations

PUBLISHED = {"voc2007+2012": (16551, 4952, 20), "coco2017": (118287, 5000, 80)}
"""Training images, test images and classes of the data sets that can be downloaded, by `data.download`."""
COCO_WITH_BOXES = 117266
"""Of its training images, those that hold a box to learn from."""
SYNTHETIC_CLASSES = 6


class Sizes(NamedTuple):
    """Of a data set."""

    train: int
    test: int
    classes: int


@dataclass(frozen=True)
class Work:
    """What all jobs of a step do."""

    jobs: int
    trained: int = 0
    """Images of all training batches together."""
    seen: int = 0
    """Images that a detector looks at without learning: evaluated, embedded, scored."""
    episodes: int = 0
    """Steps of the agent."""


def find_sizes(config: Config, results: Path) -> Sizes:
    """Return the size of an experiment's data set: as read, if it has been, else as configured, listed or published.

    Raises
    ------
    InputError
        Where nothing says it.
    """
    data = config.data
    read = [results / "dataset" / f"{split}.json" for split in ("train", "test")]
    if isinstance(data, SyntheticData):
        return Sizes(data.train_images, data.test_images, SYNTHETIC_CLASSES)
    if all(path.exists() for path in read):
        return _sizes_of_json(*read)
    if data.download is not None:
        published = Sizes(*PUBLISHED[data.download])
        with_boxes = isinstance(data, CocoData) and data.pool == "with_boxes"
        return published._replace(train=COCO_WITH_BOXES) if with_boxes else published
    listed = [Path(file) for file in annotation_files(config)]
    if data.format == "coco" and all(path.is_file() for path in listed):
        return _sizes_of_json(*listed)
    raise InputError(
        f"the number of images of {data.root} is not known yet; give --sizes TRAIN TEST CLASSES, or run "
        f"`snakemake {read[0]}` with this configuration first"
    )


def _sizes_of_json(train: Path, test: Path) -> Sizes:
    of_train, of_test = (json.loads(path.read_bytes()) for path in (train, test))
    return Sizes(len(of_train["images"]), len(of_test["images"]), len(of_train["categories"]))


def plan_work(config: Config, sizes: Sizes) -> dict[str, Work]:
    """Return what the jobs of each step do, in the order of `STEPS`, steps without jobs left out."""
    work = dict(_work(config, sizes))
    return {step: work[step] for step in STEPS if step in work and work[step].jobs}


def _work(config: Config, sizes: Sizes) -> Iterator[tuple[str, Work]]:
    seeds, cycles, queries = len(config.seeds), config.cycles, len(config.strategies) * config.cycles
    labelled = [config.initial, sizes.train]
    labelled += [config.initial + t * config.budget for t in range(1, cycles + 1) for _ in config.strategies]
    batch, iterations, lut = config.training.batch_size, config.iterations, config.lut
    steps = [
        detector_iterations(iterations.detector, iterations.growth, images / config.initial) for images in labelled
    ]
    agents = seeds * cycles if "mgral" in config.strategies else 0
    rounds = seeds * count_rounds(config)
    tables = rounds * lut.splits
    at_tables = [config.initial + t * config.budget for t in range(count_rounds(config))]
    labelling = rounds if lut.labels == "pseudo_labels" else 0
    yield "config", Work(1)
    yield "synthesize", Work(int(isinstance(config.data, SyntheticData)))
    yield "download", Work(int(downloads(config)))
    yield "weights", Work(int(config.detector.backbone_weights is not None))
    yield "data", Work(1)
    yield "cache", Work(1)
    yield "initial", Work(2 * seeds)
    yield "detector", Work(seeds * len(labelled), trained=seeds * batch * sum(steps))
    yield "evaluate", Work(seeds * len(labelled), seen=seeds * len(labelled) * sizes.test)
    others = [
        name for name in config.strategies if name != "mgral" and "embeddings" in registry.strategy(name).requires
    ]
    embedded = max(rounds, seeds * bool(others)) + seeds * (cycles - 1) * len(others)
    yield "embed", Work(embedded, seen=embedded * sizes.train)
    yield (
        "pseudo_labels",
        Work(labelling, seen=seeds * sum(sizes.train - images for images in at_tables) if labelling else 0),
    )
    yield "subsets", Work(tables)
    yield "base", Work(tables, trained=tables * batch * iterations.base)
    yield (
        "variant",
        Work(
            tables * len(variant_jobs(lut)),
            trained=tables * variant_images(lut, iterations, batch, config.semi_supervised),
            seen=sum(images_measured(lut, images, sizes.train) for images in at_tables) * seeds,
        ),
    )
    yield "table", Work(tables)
    # Of several tables, an agent for all of them and one without each.
    trained = 1 + lut.splits if lut.splits > 1 else 1
    yield "agent", Work(agents, episodes=agents * trained * config.agent.episodes)
    scored = [sizes.train - config.initial - t * config.budget for t in range(cycles)]
    looking = sum(
        registry.strategy(name).views for name in config.strategies if registry.strategy(name).runs_detector
    )
    yield "select", Work(seeds * queries, seen=seeds * looking * sum(scored))
    yield "label", Work(seeds * queries)
    yield "report", Work(1)


def count_rounds(config: Config) -> int:
    """Return the cycles of a seed in which lookup tables are made."""
    if "mgral" not in config.strategies:
        return 0
    return 1 if config.lut.refresh == "once" else config.cycles


def variant_images(
    lut: LutConfig, iterations: IterationsConfig, batch: int, semi_supervised: SemiSupervisedConfig
) -> int:
    """Return the images of all training batches of a table's variants, 0..K; 0 has no subset to learn from."""
    unlabelled = semi_supervised.batch_size * lut.variants if lut.labels == "consistency" else 0
    return iterations.variant * (batch * (lut.variants + 1) + unlabelled)


def images_measured(lut: LutConfig, labelled: int, train: int) -> int:
    """Return how many images the variants of a cycle's tables are evaluated on, each variant on its reward images."""
    rewards = round(lut.reward_fraction * labelled)
    if lut.labels == "pseudo_labels":
        rewards = rewards_of_pool(lut, train - labelled)
    return lut.splits * (lut.variants + 1) * rewards


def estimate_disk(config: Config, sizes: Sizes, detector_bytes: int) -> dict[str, int]:
    """Return the bytes of what takes most of the disk, the data set itself left out; detections at their most."""
    work, lut = plan_work(config, sizes), config.lut
    size = lut.subset_size or config.budget
    dimensions = min(config.embedding.dimensions, sizes.train) + sizes.classes * config.embedding.object_counts
    directions = sizes.classes if config.reward.distance == "by_class" else config.reward.projections
    rounds = len(config.seeds) * count_rounds(config)
    tables = rounds * lut.splits
    result = {"image_id": sizes.test, "category_id": sizes.classes, "bbox": [1000.25] * 4, "score": 0.12345}
    detection = len(json.dumps([result], indent=1))
    return {
        "image cache": _cache_bytes(config, sizes),
        "weights": (work["detector"].jobs + tables) * detector_bytes,
        "embeddings": rounds * sizes.train * (4 * dimensions + 8),
        "tables": tables * lut.variants * size * 4 * (dimensions + directions),
        "detections": work["evaluate"].jobs * sizes.test * config.evaluation.max_detections * detection,
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
    if data.download is not None:
        return sum(folder.bytes for folder in DATA_SETS[data.download])
    images = (path for path in Path(data.root).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return sum(path.stat().st_size for path in images)


@dataclass(frozen=True)
class Speeds:
    """What was measured; None where it was not."""

    rates: Mapping[str, float]
    """Of benchmarks: training_images_a_second, inference_images_a_second, steps_a_second (of the agent)."""
    seconds: Mapping[str, tuple[float, Work]]
    """Of a finished run: the wall seconds of a step's jobs, and what they did."""

    def hours(self, step: str, work: Work) -> float | None:
        """Return the hours of a step's jobs, one after the other; None where a speed is not known."""
        if step in self.seconds:
            wall, done = self.seconds[step]
            return wall / 3600 * _passes(work) / _passes(done)
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
