"""Detectors behind one interface; a new one is a module here and a name in `DetectorConfig`."""

import io
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

import mgral.compute.import_torchvision  # noqa: F401 - ahead of what imports torchvision
from mgral.artefacts.files import write_bytes
from mgral.artefacts.integrity import read_verified
from mgral.config import DetectorConfig, RetinaNetConfig, SmallSSDConfig, SSD300Config
from mgral.errors import InputError
from mgral.models.interface import Detections, Detector, Predictions, Targets
from mgral.models.retinanet import RetinaNet
from mgral.models.small_ssd import SmallSSD
from mgral.models.ssd300 import SSD300

__all__ = [
    "Detections",
    "Detector",
    "Predictions",
    "Targets",
    "build_detector",
    "load_detector",
    "random_detector",
    "save_detector",
]


def build_detector(config: DetectorConfig, classes: int, seed: int, weights: Path | None = None) -> Detector:
    """Build a detector for a number of classes (without background), as a training begins with it.

    Parameters
    ----------
    seed
        Of the random weights.
    weights
        File with the state dict of the backbone that `config.weights` names, as torchvision publishes it.

    Raises
    ------
    InputError
        Where there is no such file and `config.weights` wants one, or the other way round; where it is damaged, or
        another network's.
    """
    if config.weights is not None and weights is None:
        raise InputError(f"detector.weights is {config.weights}; give its file by --weights, or set it to null")
    if config.weights is None and weights is not None:
        raise InputError(f"detector {config.name} starts from random weights as configured; leave out --weights")
    detector = random_detector(config, classes, seed)
    if weights is not None:
        _load_backbone(detector, weights)
    return detector


def random_detector(config: DetectorConfig, classes: int, seed: int) -> Detector:
    """Build a detector with all weights drawn by seed, whatever it is configured to start from."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        match config:
            case SmallSSDConfig():
                return SmallSSD(config, classes)
            case SSD300Config():
                return SSD300(config, classes)
            case RetinaNetConfig():
                return RetinaNet(config, classes)


def _load_backbone(detector: Detector, path: Path) -> None:
    try:
        detector.load_backbone(torch.load(io.BytesIO(read_verified(path)), "cpu", weights_only=True))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the step `weights`") from None
    except (KeyError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path} does not hold the weights of this detector's backbone ({error}); delete it and run the step "
            "`weights` again"
        ) from None


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
    detector = random_detector(config, classes, seed=0)
    try:
        detector.load_state_dict(load_safetensors(read_verified(path)))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the step that makes it") from None
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{path} does not hold this detector ({error}); delete it and run its step again") from None
    return detector.eval()
