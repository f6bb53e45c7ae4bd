"""A detector that an experiment, or a round of a project, has trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mgral.artefacts.files import read_json
from mgral.config import Config, load_config
from mgral.data.dataset import Category
from mgral.data.derive import DERIVED, load_derived
from mgral.errors import InputError
from mgral.models.build import load_detector
from mgral.models.interface import DetectorModel

WEIGHTS = "detector.safetensors"


@dataclass(frozen=True)
class Trained:
    """Where a trained detector is, and what it was trained for."""

    folder: Path
    """Of its round: weights, and what it found in the test images."""
    config: Config
    """Of the experiment, with all that was derived."""
    truth: dict[str, Any]
    """COCO JSON of the test images."""

    @property
    def categories(self) -> tuple[Category, ...]:
        """Its classes, by label."""
        return tuple(sorted(Category(one["id"], one["name"]) for one in self.truth["categories"]))

    def load(self, device: torch.device | str = "cpu") -> DetectorModel:
        """Return it on a device, in evaluation mode."""
        network = load_detector(self.folder / WEIGHTS, self.config.detector, len(self.categories))
        return network.to(device)


def find_trained(results: Path, seed: int | None = None, place: str | None = None) -> Trained:
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
        raise InputError(f"{results} holds no results (config.yaml); name the folder of an experiment or a round")
    config = load_config(path)
    if config.detector.command_gives is not None:
        raise InputError(f"the detector of {results} is a command of yours ({config.detector.name}); run it yourself")
    repetition = results / f"seed{config.seeds[0] if seed is None else seed}"
    folder = _round(repetition, place)
    derived = (results / "dataset" / "input_size.json", repetition / DERIVED)
    config = load_derived(config, [one for one in derived if one.is_file()])
    return Trained(folder, config, read_json(results / "dataset" / "test.json"))


def _round(repetition: Path, place: str | None) -> Path:
    found = [one.parent.relative_to(repetition).as_posix() for one in repetition.rglob(WEIGHTS)]
    if not found:
        raise InputError(
            f"{repetition} holds no trained detector ({WEIGHTS}); run the experiment, correct --seed, or name the "
            "folder of results, of a project's round such as results/round3"
        )
    names = sorted(found)
    if place is None and len(names) == 1:
        return repetition / names[0]
    if place not in names:
        what = f"no {place!r}" if place else f"{len(names)} detectors"
        raise InputError(f"{repetition} has {what}; name one by --round: {', '.join(names)}")
    return repetition / place
