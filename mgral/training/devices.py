"""Training a detector where a step was told to: on the CPU, on a GPU, or on several at once."""

from typing import Any

from timm.layers.norm_act import convert_sync_batchnorm

from mgral.compute.device import choose_device
from mgral.compute.distributed import processes, run_processes
from mgral.config import TrainingConfig
from mgral.errors import InputError
from mgral.models.interface import DetectorModel
from mgral.training.batches import TrainingImages
from mgral.training.checkpoint import Checkpoint
from mgral.training.loop import Follower, train_detector


def train_on_gpus(
    gpus: int,
    detector: DetectorModel,
    labelled: TrainingImages,
    config: TrainingConfig,
    iterations: int,
    seed: int,
    step: str,
    checkpoint: Checkpoint | None,
    follower: Follower | None = None,
) -> list[dict[str, float]]:
    """Train a detector in place as `train_detector` does, in a process a GPU if there are several.

    These share each batch and do what one process does, to rounding. On CPUs, where it is for trying, batch
    normalisation takes its statistics from each process' share. A follower is for one process.

    Raises
    ------
    InputError, StepError
        As `train_detector` and `choose_device` raise them; InputError where a batch has fewer images than there are
        GPUs; StepError where a process failed.
    """
    device = choose_device(gpus)
    arguments = (detector, labelled, config, iterations, seed, step, None, checkpoint)
    if gpus <= 1:
        detector.to(device)
        return train_detector(*arguments, follower)
    assert follower is None
    if gpus * config.accumulate > config.batch_size:
        raise InputError(
            f"--gpus {gpus}: training.batch_size is {config.batch_size}, and each GPU takes an image or more of each "
            f"part of a batch ({config.accumulate}, training.accumulate); lower --gpus, or raise training.batch_size"
        )
    backend = "nccl" if device.type == "cuda" else "gloo"
    history: list[dict[str, float]]
    history, weights = run_processes(gpus, backend, step, _train_share, *arguments)
    detector.load_state_dict(weights)
    return history


def _train_share(detector: DetectorModel, *arguments: Any) -> tuple[list[dict[str, float]], dict[str, Any]]:
    device = choose_device(processes())
    if device.type == "cuda":  # torch has it for GPUs only
        detector = share_statistics(detector)
    detector.to(device)
    history = train_detector(detector, *arguments)
    return history, {name: tensor.cpu() for name, tensor in detector.state_dict().items()}


def share_statistics(detector: DetectorModel) -> DetectorModel:
    """Return the detector with batch normalisation over the batches of all processes; otherwise it is the same."""
    # timm's function, as torch's own would drop the activations that timm's layers have in them.
    shared: DetectorModel = convert_sync_batchnorm(detector)  # type: ignore[no-untyped-call]
    return shared
