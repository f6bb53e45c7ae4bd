"""Detectors made by their section of settings, saved and loaded."""

from pathlib import Path
from pkgutil import resolve_name

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from mgral.artefacts.files import write_bytes
from mgral.artefacts.integrity import read_verified
from mgral.config import DetectorConfig
from mgral.errors import InputError
from mgral.models.interface import DetectorModel


def build_detector(config: DetectorConfig, classes: int, seed: int, weights: Path | None = None) -> DetectorModel:
    """Build a detector for a number of classes (without background), as a training begins with it.

    Parameters
    ----------
    seed
        Seed of the random weights.
    weights
        The file that the step `weights` wrote; given if, and only if, `config.weights` is not null.

    Raises
    ------
    InputError
        Where there is no such file and `config.weights` wants one, or the other way round; where it is damaged, or
        another network's.
    """
    config = config.trained
    if config.weights is not None and weights is None:
        raise InputError(f"detector.weights is {config.weights}; give its file by --weights, or set it to null")
    if config.weights is None and weights is not None:
        raise InputError(f"detector {config.name} starts from random weights as configured; leave out --weights")
    detector = random_detector(config, classes, seed)
    if weights is not None:
        _start_from(detector, weights)
    return detector


def random_detector(config: DetectorConfig, classes: int, seed: int) -> DetectorModel:
    """Build a detector with all weights drawn by seed, whatever it is configured to start from."""
    config = config.trained
    network = resolve_name(config.network)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        detector: DetectorModel = network(config, classes)
    return detector


def _start_from(detector: DetectorModel, path: Path) -> None:
    try:
        detector.load_state_dict(detector.state_dict() | load_safetensors(read_verified(path)))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the step `weights`") from None
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path} does not contain weights of this detector ({error}); delete it and run the step `weights` again"
        ) from None


def save_detector(detector: DetectorModel, path: Path) -> None:
    """Write the weights as safetensors."""
    # Copies, as safetensors takes no two names of one tensor, which detectors have that tie weights.
    state = {
        name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in detector.state_dict().items()
    }
    write_bytes(path, save_safetensors(state))


def load_detector(path: Path, config: DetectorConfig, classes: int) -> DetectorModel:
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
        raise InputError(f"{path} does not contain this detector ({error}); delete it, run its step again") from None
    return detector.eval()
