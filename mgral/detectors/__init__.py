"""Detectors behind one interface; a new one is a module here and a name in `DetectorConfig`."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from mgral.artefacts import write_bytes
from mgral.config import DetectorConfig
from mgral.detectors.interface import Detections, Detector, Predictions, Targets
from mgral.detectors.small_ssd import SmallSSD
from mgral.errors import InputError
from mgral.integrity import read_verified

__all__ = [
    "Detections",
    "Detector",
    "Predictions",
    "Targets",
    "build_detector",
    "load_detector",
    "save_detector",
]


def build_detector(config: DetectorConfig, classes: int, seed: int) -> Detector:
    """Build a detector for a number of classes (without background), with initial weights drawn by seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SmallSSD(config, classes)


def save_detector(detector: Detector, path: Path) -> None:
    """Write the weights as safetensors."""
    state = {name: tensor.contiguous() for name, tensor in detector.state_dict().items()}
    write_bytes(path, save_safetensors(state))


def load_detector(path: Path, config: DetectorConfig, classes: int) -> Detector:
    """Read weights into a detector of this configuration, in evaluation mode.

    Raises
    ------
    InputError
        Where the file is missing or damaged, or belongs to another architecture.
    """
    detector = build_detector(config, classes, seed=0)
    try:
        detector.load_state_dict(load_safetensors(read_verified(path)))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the step that makes it") from None
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{path} does not hold this detector ({error}); delete it and run its step again") from None
    return detector.eval()
