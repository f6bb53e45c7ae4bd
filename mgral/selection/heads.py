"""Heads of strategies on the cycle's detector: trained along with it, without a gradient into it.

All strategies share one detector, so that choices alone are compared. A head is trained in a job of its own. The job
trains the detector once more, to the same bytes, and lets the head learn from each step of that training.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from torch.optim import AdamW

from mgral.artefacts.files import write_bytes
from mgral.artefacts.integrity import read_verified
from mgral.artefacts.seeds import derive_seed
from mgral.config import Config, TrainingConfig, registry
from mgral.data.image_set import ImageSet
from mgral.data.images import Images
from mgral.errors import InputError, StepError
from mgral.models.interface import DenseModel, DetectorModel, Predictions, Targets
from mgral.selection.inference import dense_and_images
from mgral.selection.query import Query
from mgral.training.average import make_average
from mgral.training.checkpoint import Checkpoint
from mgral.training.detector import train_cycle_detector

LEARNING_RATE = 3e-3
"""Peak learning rate of AdamW; it rises and falls as the detector's does. With 1e-3 `meh_hua` predicted less well."""


class Seen(NamedTuple):
    """What the detector makes of images in a step of its training; nothing of it has a gradient."""

    maps: list[Tensor]
    """See `DenseModel.maps`; float32."""
    predictions: Predictions
    targets: Targets


class AnchorHead(nn.Module):
    """A convolution of 3 x 3 for each map, with outputs of their own for each anchor."""

    def __init__(self, maps: Sequence[Tensor], anchors_a_cell: Sequence[int], bias: Tensor) -> None:
        """Take some maps, which give the channels, and the first biases of an anchor's outputs, [O]."""
        super().__init__()
        self.outputs = len(bias)
        self.convolutions = nn.ModuleList()
        for feature_map, anchors in zip(maps, anchors_a_cell, strict=True):
            convolution = nn.Conv2d(feature_map.shape[1], anchors * self.outputs, 3, padding=1)
            convolution.bias = nn.Parameter(bias.detach().cpu().repeat(anchors))
            self.convolutions.append(convolution)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the outputs in the order of the detector's anchors, [B, A, O]."""
        outputs = [convolution(feature_map) for convolution, feature_map in zip(self.convolutions, maps, strict=True)]
        return torch.cat(
            [output.permute(0, 2, 3, 1).reshape(len(output), -1, self.outputs) for output in outputs], dim=1
        )


class HeadTraining:
    """The training of a head along with a detector's: a `mgral.training.loop.Follower`.

    The head is built of the first batch. Batches, their parts, augmentation, the course of the learning rate and the
    moving average of weights are those of the detector; the optimiser is the head's own. So are its random numbers:
    within the head's functions torch's global generators draw them, and are put back.
    """

    def __init__(self, strategy: str, config: TrainingConfig, seed: int) -> None:
        """Take the registered strategy, how the detector is trained, and the seed of all that is random in the head.

        Raises
        ------
        InputError
            Where the strategy has no head.
        """
        self._strategy = strategy
        self._functions = registry.strategy_head(strategy)
        self._config = config
        self._seed = seed
        self._head: nn.Module | None = None
        self._resumed: dict[str, Any] | None = None
        self._random: tuple[Tensor, Tensor | None] | None = None
        self._loss = 0.0
        self.history: list[dict[str, float]] = []
        """A row an iteration: iteration, and the head's loss."""

    def see(
        self, detector: DenseModel, weight: float, maps: list[Tensor], predictions: Predictions, targets: Targets
    ) -> None:
        """Add the gradient of a part of a batch to the head's gradients; `weight` is its share of the batch."""
        detached_maps = [feature_map.detach().float() for feature_map in maps]
        seen = Seen(detached_maps, Predictions(*(part.detach() for part in predictions)), targets)
        with _frozen(detector), self._own_random_numbers(detector.device):
            if self._head is None:
                self._begin(self._functions.build(detector, seen).to(detector.device))
            loss = weight * self._functions.loss(self._head, detector, seen)
            loss.backward()
        self._loss += loss.item()

    def step(self, factor: float) -> None:
        """Learn from the parts seen, at a factor of the peak rate; raises StepError on a loss that is not finite."""
        if self._head is None:
            raise StepError("head: the detector trains without showing its maps; its `losses` must call `watch`")
        if not math.isfinite(self._loss):
            raise StepError(f"head: the loss of the head is {self._loss} at iteration {len(self.history)}")
        for group in self._optimizer.param_groups:
            group["lr"] = LEARNING_RATE * factor
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._average:
            self._average.update_parameters(self._head)
        self.history.append({"iteration": len(self.history), "loss": self._loss})
        self._loss = 0.0

    def trained(self, detector: DenseModel) -> nn.Module:
        """Return the head in evaluation mode, with averaged weights if `training.moving_average` is set."""
        if self._head is None:  # resumed after the last iteration
            with self._own_random_numbers(detector.device):
                self._begin(_blank_head(self._strategy, detector).to(detector.device))
        assert self._head is not None
        if self._average:
            self._head.load_state_dict(self._average.module.state_dict())
        return self._head.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, for a checkpoint."""
        assert self._head is not None
        return {
            "head": self._head.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "random": self._random,
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the training that gave `state` was, once there is a batch to build the head of."""
        self._resumed, self.history = state, state["history"]

    def _begin(self, head: nn.Module) -> None:
        self._head = head.train()
        self._optimizer = AdamW(head.parameters(), LEARNING_RATE)
        self._average = make_average(head, self._config)
        if self._resumed:
            head.load_state_dict(self._resumed["head"])
            self._optimizer.load_state_dict(self._resumed["optimizer"])
            if self._average:
                self._average.load_state_dict(self._resumed["average"])
            _set_random(self._resumed["random"])

    @contextmanager
    def _own_random_numbers(self, device: torch.device) -> Iterator[None]:
        on_card = device.type == "cuda"
        with torch.random.fork_rng([torch.cuda.current_device()] if on_card else []):
            if self._random is None:
                torch.manual_seed(self._seed)
            else:
                _set_random(self._random)
            yield
            self._random = torch.get_rng_state(), torch.cuda.get_rng_state() if on_card else None


def _set_random(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])


@contextmanager
def _frozen(detector: DetectorModel) -> Iterator[None]:
    """Put a detector in evaluation mode, without a gradient for its weights, and back into training mode."""
    trainable = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    detector.eval()
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        detector.train()


class TrainedHead(NamedTuple):
    """What the training of a head gives."""

    head: nn.Module
    """In evaluation mode."""
    detector: DetectorModel
    """The detector trained once more: the same as without the head, on the same kind of device."""
    history: list[dict[str, float]]
    """A row an iteration: iteration, and the head's loss."""


def train_head(
    strategy: str,
    config: Config,
    data: ImageSet,
    labelled: npt.ArrayLike,
    seed: int,
    cycle: int = 0,
    *,
    weights: Path | None = None,
    gpus: int = 0,
    checkpoint: Checkpoint | None = None,
) -> TrainedHead:
    """Train the head of a strategy along with the detector of a cycle, which is trained once more for it.

    Parameters
    ----------
    strategy
        An instance of the configuration, or the name of any other strategy that has a head.
    labelled, seed, cycle, weights, checkpoint
        As `train_cycle_detector` takes them, for the same detector.
    gpus
        0 for the CPU, or 1.

    Raises
    ------
    InputError
        Where the strategy has no head, or the detector no anchors.
    StepError
        As `train_detector` raises it, and on a loss of the head that is not finite.
    """
    kind = config.strategies[strategy].type if strategy in config.strategies else strategy
    if not config.detector.dense:
        raise InputError(f"the head of {kind} needs anchors, and {config.detector.name} has none; choose another")
    training = HeadTraining(kind, config.training, derive_seed(seed, f"{kind} head", cycle))
    detector, _ = train_cycle_detector(
        config, data, labelled, seed, cycle, weights=weights, gpus=gpus, checkpoint=checkpoint, follower=training
    )
    return TrainedHead(training.trained(cast(DenseModel, detector)), detector, training.history)


def save_head(head: nn.Module, path: Path) -> None:
    """Write the weights as safetensors."""
    write_bytes(path, save_safetensors({name: tensor.contiguous() for name, tensor in head.state_dict().items()}))


def load_head(path: Path, strategy: str, detector: DetectorModel) -> nn.Module:
    """Read the head of a registered strategy, for the cycle's detector and on its device, in evaluation mode.

    Raises
    ------
    InputError
        Where the file is missing or damaged, or belongs to another strategy or detector.
    """
    head = _blank_head(strategy, cast(DenseModel, detector))  # as `select` checks
    try:
        head.load_state_dict(load_safetensors(read_verified(path)))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the step `head`") from None
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path} does not contain the head of {strategy} on this detector ({error}); delete it and run the step "
            "`head` again"
        ) from None
    return head.to(detector.device).eval()


@torch.no_grad()
def _blank_head(strategy: str, detector: DenseModel) -> nn.Module:
    """Build a head whose weights are still to be loaded, from a black image without a box."""
    maps = detector.maps(torch.zeros(1, 3, *detector.size, device=detector.device))
    empty = torch.zeros(1, 0, 4, device=detector.device), torch.zeros(1, 0, dtype=torch.int64, device=detector.device)
    with torch.random.fork_rng([]):
        head: nn.Module = registry.strategy_head(strategy).build(
            detector, Seen(maps, detector.predict(maps), Targets(*empty))
        )
    return head


def with_head(query: Query) -> tuple[DenseModel, Images, Any]:
    """Return the cycle's detector, the images and the strategy's head, of a strategy that requires them."""
    detector, images = dense_and_images(query)
    assert query.head is not None
    return detector, images, query.head
