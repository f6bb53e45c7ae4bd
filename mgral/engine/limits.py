"""Checks before the first job: the number of jobs and of images, a folder to write to, disk and memory.

Disk and main memory are compared with lower bounds, so an experiment that passes may still need more. The memory of a
GPU is an estimate, which `--set-resources STEP:vram_mb=N` replaces.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from mgral.artefacts.integrity import CONFIG
from mgral.compute.gpus import DEVICE_VARIABLE
from mgral.config import BudgetConfig, Config, ProjectData, SyntheticData, check_budget, registry
from mgral.data.chunks import ChunkFiles, PixelSettings
from mgral.data.formats.project import chunk_path, snapshot_of
from mgral.data.formats.snapshot import PICTURES, load_chunk
from mgral.data.read import count_listed
from mgral.engine.devices import Devices
from mgral.errors import InputError, StepError

MOST_JOBS = 100_000
"""Snakemake (9.27) plans about 86 a second and keeps 28 kB of each: 20 minutes and 3 GB, before the first job."""
SCENE_BYTES = 30_000
"""A synthetic image on disk takes a little more."""
SMALL_FILES_BYTES = 10_000_000
"""Disk for all files but images."""
NOTES_BYTES = 1_000_000
"""Disk for Snakemake's folder .snakemake, to begin with."""


def check_folder(results: Path) -> None:
    """Check that Snakemake can look for results, and write its own notes.

    Raises
    ------
    InputError
        Where a file is in the place of a folder, or a folder cannot be written to.
    StepError
        Where the disk is full.
    """
    for folder in (*reversed(results.parents), results):
        if os.path.lexists(folder) and not folder.is_dir():
            raise InputError(f"{folder} is no folder, and results are to be written there; move it away")
    if (results / CONFIG).is_dir():
        raise InputError(f"{results / CONFIG} is a folder, and is to be the configuration; move it away")
    _check_writable(Path())
    _check_space(Path(), NOTES_BYTES, "Snakemake's own files need")


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"the folder {folder.resolve()} cannot be written to; make it writable, or use another")


def _check_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise StepError where a disk has fewer bytes free than needed; `purpose` begins the message."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StepError(
            f"{purpose} {needed / 1e6:,.0f} MB of disk in {folder.resolve()}, and {free / 1e6:,.0f} MB are free; "
            "free space, or ask for less"
        )


def check_jobs(config: Config) -> None:
    """Raise InputError where an experiment has more jobs than Snakemake can plan."""
    tables = sum(
        settings.lut.splits * (4 + settings.lut.variants // settings.lut.variants_per_job)
        for name, settings in config.strategies.items()
        if name in config.with_tables
    )
    heads = sum("head" in registry.strategy(settings.type).requires for settings in config.strategies.values())
    jobs = len(config.seeds) * (3 + config.cycles * (4 * len(config.strategies) + heads) + tables)
    if jobs > MOST_JOBS:
        raise InputError(
            f"the experiment has about {jobs:,} jobs, and at most {MOST_JOBS:,} can be planned; use fewer seeds, "
            "cycles, strategies, lut.variants or lut.splits, or raise lut.variants_per_job"
        )


def check_images(config: Config) -> None:
    """Raise InputError where the data set lists fewer images than the experiment labels, saying what would fit."""
    if isinstance(config.data, SyntheticData | ProjectData):
        return  # the former was checked with the configuration, and the latter takes what there is
    images = count_listed(config.data)
    if images is None:
        return
    try:
        check_budget(config, images)
    except ValueError as error:
        raise InputError(str(error)) from None


def check_memory(config: Config, on_gpus: bool) -> None:
    """Raise InputError where settings need more memory than this machine has, naming them."""
    memory = psutil.virtual_memory().total + psutil.swap_memory().total
    for needed, part, settings in _memory_needs(config, on_gpus):
        if needed > memory:
            raise InputError(
                f"{part} needs more than {_gigabytes(needed)} of memory, and this machine has {_gigabytes(memory)}; "
                f"lower {settings}"
            )


def check_card_resources(resources: Mapping[tuple[str, str], object]) -> None:
    """Raise InputError where a resource of a step, by both names, is neither a number from 0 nor missing (None)."""
    for (step, name), value in resources.items():
        if value is not None and not (isinstance(value, int) and value >= 0):
            raise InputError(f"--set-resources {step}:{name}={value}: it is no whole number from 0; give one")


def check_card_memory(devices: Devices, memory_by_step: Mapping[str, int]) -> None:
    """Raise InputError where a step was given a GPU and takes more memory than any card has.

    Parameters
    ----------
    devices
        The cards of this machine.
    memory_by_step
        MiB that such steps take.
    """
    if devices.cards and memory_by_step:
        step, needed = max(memory_by_step.items(), key=lambda item: item[1])
        raise InputError(
            f"{step} was given a GPU and takes about {needed} MiB of it, and the largest has {devices.largest_mb}; "
            f"lower training.batch_size or the detector's size, raise training.accumulate, or run it without, by "
            f"--set-resources {step}:gpu=0 (or all without, by {DEVICE_VARIABLE}=cpu). Where it fits all the same: "
            f"--set-resources {step}:vram_mb={devices.largest_mb}"
        )


def check_disk(config: Config, results: Path) -> None:
    """Check that results can be written, and that the disk has room for the images.

    Raises
    ------
    InputError
        Where the folder cannot be written to.
    StepError
        Where the disk has not enough space.
    """
    folder = next(folder for folder in (results, *results.parents) if folder.exists())
    _check_writable(folder)
    _check_space(folder, _disk_bytes(config, results), "the images of the experiment need")


def _memory_needs(config: Config, on_gpus: bool) -> Iterator[tuple[float, str, str]]:
    """Yield bytes of memory, what needs them, and the settings that it follows from."""
    detector, training = config.detector, config.training
    width, height = detector.largest_canvas.input_size
    # Weights, gradients and the two moments of Adam.
    yield 4 * detector.weight_bytes, "the detector", f"the channels of detector {detector.name}"
    if not on_gpus:
        # Half precision keeps at least half.
        images = training.batch_size / training.accumulate / (1 if training.precision == "float32" else 2)
        settings = f"the settings of detector {detector.name}, or training.batch_size"
        yield images * width * height * detector.training_bytes, "a training step", settings
    yield 3 * width * height * training.batch_size, "a batch of images", "training.batch_size, or the detector's size"
    # Of boxes the data say how many images they are: one at least.
    batch = 1 if isinstance(config.budget, BudgetConfig) else config.budget
    for name in config.agents:
        agent = config.strategies[name].agent
        if agent.policy == "lstm":
            # An LSTM and a layer of `hidden` squared, with what Adam keeps of each weight.
            yield 4 * 4 * 5 * agent.hidden**2, f"the agent of {name}", "agent.hidden"
            yield 8 * agent.samples * batch, f"an episode of {name}", "agent.samples"
        else:
            # The hidden layer of the images that all batches choose from in a step, and its gradient.
            hidden = 2 * 4 * agent.samples * 3 * min(batch, agent.horizon) * agent.hidden
            yield hidden, f"an episode of {name}", "agent.samples or agent.hidden"
    for name in config.with_tables:
        reward, lut = config.strategies[name].reward, config.strategies[name].lut
        if reward.distance == "sliced":
            projected = 4 * lut.variants * (lut.subset_size or batch) * reward.projections
            yield projected, f"the lookup table of {name}", "reward.projections, lut.variants or lut.subset_size"


def _disk_bytes(config: Config, results: Path) -> int:
    """Return the bytes of the image cache and of synthetic images, as far as they are known and not there yet."""
    data, canvas = config.data, config.detector.largest_canvas
    if isinstance(data, ProjectData):
        return SMALL_FILES_BYTES + _chunks_bytes(config, data, results)
    if not isinstance(data, SyntheticData) or (results / "dataset" / "train.npy").exists():
        return SMALL_FILES_BYTES
    pixels = 0 if config.detector.caches_files else 3 * canvas.width * canvas.height
    return SMALL_FILES_BYTES + (data.train_images + data.test_images) * (SCENE_BYTES + pixels)


def _chunks_bytes(config: Config, data: ProjectData, results: Path) -> int:
    """Return the bytes of the pixels of chunks that are not there yet; not of files, whose sizes are not known."""
    settings = PixelSettings.of(config)
    folder = results.parent / PICTURES / settings.folder
    missing = [digest for digest in snapshot_of(data).chunks if not ChunkFiles.of(folder, digest).pixels.exists()]
    images = sum(len(load_chunk(chunk_path(data, digest))) for digest in missing)
    return 0 if settings.encoded else images * 3 * settings.width * settings.height


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.2f} GB"
