"""A detector that an experiment, or a round of a project, has trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from mgral.artefacts.files import read_json
from mgral.compute.device import choose_device
from mgral.config import Config, DetectorConfig, EvaluationConfig, load_config
from mgral.data.dataset import Category
from mgral.data.derive import DERIVED, load_derived
from mgral.data.image_set import ImageSet
from mgral.data.results import load_found
from mgral.errors import InputError
from mgral.evaluation.detect import detect_images
from mgral.evaluation.evaluate import found_results
from mgral.models.build import load_detector
from mgral.models.interface import DetectorModel

WEIGHTS = "detector.safetensors"


def found_in(
    image_ids: npt.ArrayLike,
    detector: Path,
    data: ImageSet,
    settings: DetectorConfig,
    limits: EvaluationConfig,
    gpus: int = 0,
) -> list[dict[str, Any]]:
    """Return what a detector finds in some training images, as COCO results in their order.

    Parameters
    ----------
    detector
        Its weights; of one that is a command, the file of what it has found in all training images.
    gpus
        0 for the CPU, 1 for the first GPU.
    """
    rows = data.dataset.rows(image_ids)
    if settings.command_gives is not None:
        return found_results(load_found(detector, "train"), data.dataset, rows, limits)
    network = load_detector(detector, settings, len(data.dataset.categories)).to(choose_device(gpus))
    return detect_images(network, data.dataset, data.images, rows, limits)


@dataclass(frozen=True)
class TrainedDetector:
    """Where a trained detector is, and what it was trained for."""

    folder: Path
    """With the weights, and what the detector found in the test images."""
    config: Config
    """Of the experiment, with all that was derived."""
    truth: dict[str, Any]
    """COCO JSON of the test images."""

    @property
    def categories(self) -> tuple[Category, ...]:
        """Its classes, by label."""
        return tuple(sorted(Category(category["id"], category["name"]) for category in self.truth["categories"]))

    def load(self, device: torch.device | str = "cpu") -> DetectorModel:
        """Return it on a device, in evaluation mode."""
        network = load_detector(self.folder / WEIGHTS, self.config.detector, len(self.categories))
        return network.to(device)


def find_trained(results: Path, seed: int | None = None, place: str | None = None) -> TrainedDetector:
    """Return a detector of an experiment's results.

    Parameters
    ----------
    seed
        The repetition; the first unless given.
    place
        Its folder below that of the repetition, such as full/cycle0; may be left out where there is one detector.

    Raises
    ------
    InputError
        Where there is no such detector, or several and none is named; where it is a command of the user's own.
    """
    path = results / "config.yaml"
    if not path.is_file():
        raise InputError(f"{results} contains no results (config.yaml); name the folder of an experiment or a round")
    config = load_config(path)
    if config.detector.command_gives is not None:
        raise InputError(f"the detector of {results} is a command of yours ({config.detector.name}); run it yourself")
    repetition = results / f"seed{config.seeds[0] if seed is None else seed}"
    folder = _find_folder(repetition, place)
    derived = (results / "dataset" / "input_size.json", repetition / DERIVED)
    config = load_derived(config, [file for file in derived if file.is_file()])
    return TrainedDetector(folder, config, read_json(results / "dataset" / "test.json"))


def _find_folder(repetition: Path, place: str | None) -> Path:
    """Return the folder of the one trained detector, or of the one at `place`; raises InputError."""
    folders = [weights.parent.relative_to(repetition).as_posix() for weights in repetition.rglob(WEIGHTS)]
    if not folders:
        raise InputError(
            f"{repetition} contains no trained detector ({WEIGHTS}); run the experiment, correct --seed, or name the "
            "folder of results, of a project's round such as results/round3"
        )
    names = sorted(folders)
    if place is None and len(names) == 1:
        return repetition / names[0]
    if place not in names:
        contents = f"no {place!r}" if place else f"{len(names)} detectors"
        raise InputError(f"{repetition} has {contents}; name one by --detector: {', '.join(names)}")
    return repetition / place
