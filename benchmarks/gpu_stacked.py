"""Several small trainings as one on a GPU: a tensor holds the weights of all."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.as_built import use_as_built
from benchmarks.gpu_ways import GRADIENT_NORM, LEARNING_RATE, SCHEDULE, Ours, Setting
from benchmarks.launches import NOT_LAUNCHED, fixed_shapes
from mgral.models.interface import Targets
from mgral.training.feed import Feed, Part, place
from mgral.training.loop import learning_rate_factor

STACKED = "ours, stacked"


class Stacked:
    """Trainings with a tensor for the weights of all, of which torch.func finds the gradients together.

    Most operators are launched once for all of them. The networks are timm's as they are built: torch.func knows
    neither the order of memory nor the convolutions of ours. All weights learn at one rate.
    """

    def __init__(self, setting: Setting, seed: int, iterations: int, *, trainings: int) -> None:
        self._trainings = [Ours(setting, seed + one, iterations, only_flips=False) for one in range(trainings)]
        self.detectors = [one.detector for one in self._trainings]
        for detector in self.detectors:
            use_as_built(detector, setting.detector.backbone)
            detector.train()
        weights, self.buffers = stack_module_state(self.detectors)
        self._shapes = {name: one.shape[1:] for name, one in weights.items()}
        self.weights = torch.cat([one.detach().flatten(1) for one in weights.values()], dim=1).requires_grad_()
        self._learn = vmap(grad_and_value(self._loss), randomness="different")
        self._iterations, self._config, self._done = iterations, setting.training(only_flips=False), 0
        decay = self._config.weight_decay
        self._optimizer = torch.optim.AdamW([self.weights], LEARNING_RATE, weight_decay=decay, fused=True)

    def _loss(self, weights: Tensor, buffers: Any, images: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        parts = weights.split([shape.numel() for shape in self._shapes.values()])
        named = {name: part.view(shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}
        losses = functional_call(self.detectors[0], (named, buffers), (images, Targets(boxes, labels)))
        return torch.stack(list(losses.values())).sum()

    def shown(self) -> list[tuple[Tensor, Targets]]:
        """Draw the next images and boxes of each training."""
        feeds = [one.run.labelled for one in self._trainings]
        return [
            feed.show(place(part.drawn, detector.device))
            for feed, detector in zip(feeds, self.detectors, strict=True)
            for part in feed.draw()
        ]

    def gradients(self, shown: Sequence[tuple[Tensor, Targets]]) -> Tensor:
        """Return the gradients of all weights, [trainings, weights]; statistics of the networks move."""
        images = torch.stack([one for one, _ in shown])
        boxes, labels = (torch.stack(parts) for parts in zip(*(targets for _, targets in shown), strict=True))
        with self._trainings[0].run.precision:
            found, _ = self._learn(self.weights, self.buffers, images, boxes, labels)
        return cast(Tensor, found).detach()

    def step(self) -> None:
        """Do one iteration of each training."""
        with as_on_a_gpu():
            found = self.gradients(self.shown())
        self.weights.grad = found * (GRADIENT_NORM / found.norm(dim=1, keepdim=True).clamp(min=GRADIENT_NORM))
        factor = learning_rate_factor(self._done, self._iterations, self._config)
        self._optimizer.param_groups[0]["lr"] = LEARNING_RATE * factor
        self._optimizer.step()
        self._done += 1


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Compute losses on the CPU as on a GPU, and do not warn of operators that torch.func does one by one."""
    with warnings.catch_warnings(), fixed_shapes():
        warnings.filterwarnings("ignore", "There is a performance drop")
        yield


class _Operators(TorchDispatchMode):
    """Counts operators that compute something."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        name = function.name().split("::")[1].split(".")[0]
        self.count += not function.is_view and name not in NOT_LAUNCHED
        return function(*arguments, **(named or {}))


def operators_a_step(setting: Setting, trainings: int) -> tuple[int, int]:
    """Count the operators that a step of so many trainings launches, stacked and one by one; on the CPU."""
    alone = Ours(setting, 0, SCHEDULE, only_flips=False)
    use_as_built(alone.detector, setting.detector.backbone)
    alone.detector.train()
    counts = []
    with as_on_a_gpu():
        for training in (Stacked(setting, 0, SCHEDULE, trainings=trainings), alone):
            training.step()  # which also makes what later ones keep
            with _Operators() as operators, patch.object(Feed, "draw", _uncounted(operators)):
                training.step()
            counts.append(operators.count)
    return counts[0], counts[1] * trainings


def _uncounted(operators: _Operators) -> Callable[[Feed], Iterator[Part]]:
    """Return `Feed.draw`, which is the processor's work on any device, without what it counts."""
    draw = Feed.draw

    def drawn(feed: Feed) -> Iterator[Part]:
        before = operators.count
        parts = list(draw(feed))
        operators.count = before
        return iter(parts)

    return drawn
