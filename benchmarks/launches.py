"""What a step of a training asks of a GPU, counted without one, on torch's device `meta`, which computes nothing.

Tensors there have a shape and no numbers. Every operator on them that is no view would be launched on a GPU. An
operator that needs numbers makes the processor wait for the GPU. Here it is counted and answered with made-up
numbers, so that the training goes on. All is in float32: torch's automatic half precision does not know the device.
It would add a conversion of each weight, forward and backward.

The same is counted by torch's profiler, in steps that the CPU does compute. There copies to a GPU are not seen.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.optim.optimizer as optimizers
import torch.utils._foreach_utils as of_many
from torch import Tensor
from torch.autograd.profiler_util import FunctionEvent
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mgral.config import TrainingConfig
from mgral.data.images import Images
from mgral.models.build import random_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.detectors.timm import SSDConfig, TimmRetinaNetConfig
from mgral.models.interface import DenseModel, Targets
from mgral.training import loop
from mgral.training.batches import TrainingImages

ROWS = 8
"""Made-up number of elements that are chosen by numbers."""
STEPS = 2
NOT_LAUNCHED = {
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "_unsafe_view",
    "lift_fresh",
}
"""Operators that make or rename tensors and compute nothing, beside the views."""
PARTS = ("batch and augmentation", "forward", "loss", "backward", "optimiser and the rest")
MARK = "begins: "
"""Before the name of a part, in what the profiler has recorded."""
WAITING = ("_local_scalar_dense", "nonzero", "masked_select")
"""Operators for whose numbers the processor waits; an index by bool calls the second one."""
NAMES = torch._C._profiler._ExperimentalConfig(capture_overload_names=True)
COMPOSED = "CompositeImplicitAutograd"
"""Of operators that are a row of others."""
FIXED = ("mgral.models.multibox", "mgral.models.focal", "mgral.models.interface", "mgral.training.feed")
"""Modules that compute in another way on a GPU."""
META = torch.device("meta")
SIDE, BATCH, CLASSES, BOXES = 256, 16, 6, 8
"""Of what `count_all` counts: pixels, images in a step, classes, boxes of an image."""


class Counts:
    """Of some steps, neither the first, which makes what later ones keep, nor the last."""

    def __init__(self) -> None:
        self.part = ""
        self.steps = -1
        self.operators: Counter[tuple[str, str]] = Counter()
        """By part of the step and name."""
        self.copies: Counter[str] = Counter()
        """From the processor to the device, by part."""
        self.waits: Counter[tuple[str, str]] = Counter()
        """By part and by what the processor waits for."""

    def launched(self, part: str) -> float:
        """Return the operators of a part of a step."""
        return sum(count for (of, _), count in self.operators.items() if of == part) / STEPS

    def waited(self, part: str) -> float:
        """Return how often the processor waits in a part of a step."""
        return sum(count for (of, _), count in self.waits.items() if of == part) / STEPS

    def begin(self) -> None:
        """Begin a step."""
        self.steps += 1
        self.part = PARTS[0]

    def count(self, counter: Counter[Any], key: Any) -> None:
        """Add one, in the steps that are counted."""
        if 0 < self.steps <= STEPS:
            counter[key] += 1


def count_steps(detector: DenseModel, images: TrainingImages, config: TrainingConfig, **more: Any) -> Counts:
    """Return what steps of a training ask of a device; the detector is moved to `meta`."""
    detector.to(META)
    with _counted(detector) as counts:
        loop.train_detector(detector, images, config, STEPS + 2, 0, "count", **more)
    return counts


@contextmanager
def _counted(detector: DenseModel) -> Iterator[Counts]:
    counts = Counts()

    def begin(part: str) -> None:
        if part == PARTS[0]:
            counts.begin()
        counts.part = part

    with ExitStack() as stack:
        stack.enter_context(_parts(detector, begin))
        # Which know the device, but do not say so.
        for module, name in (
            (optimizers, "_get_fused_kernels_supported_devices"),
            (of_many, "_get_foreach_kernels_supported_devices"),
        ):
            stack.enter_context(patch.object(module, name, lambda: ["meta", "cpu"]))
        stack.enter_context(patch.object(torch, "autocast", lambda *_, **__: nullcontext()))
        stack.enter_context(_FromNumbers(counts))
        stack.enter_context(_Operators(counts))
        yield counts


@contextmanager
def _parts(detector: DenseModel, begin: Callable[[str], None]) -> Iterator[None]:
    """Call `begin` where a part of a step begins."""
    with ExitStack() as stack:

        def during(target: Any, name: str, part: str, then: str = "") -> None:
            original = getattr(target, name)

            def call(*arguments: Any, **named: Any) -> Any:
                begin(part)
                result = original(*arguments, **named)
                if then:
                    begin(then)
                return result

            stack.enter_context(patch.object(target, name, call))

        during(loop, "learning_rate_factor", PARTS[0])
        during(detector, "maps", PARTS[1])
        during(detector, "loss", PARTS[2])
        during(Tensor, "backward", PARTS[3], PARTS[4])
        yield


@contextmanager
def fixed_shapes() -> Iterator[None]:
    """Let the CPU compute in the form of a GPU, with shapes that do not depend on numbers."""
    with ExitStack() as stack:
        for module in map(sys.modules.get, FIXED):
            if hasattr(module, "fixed_shapes"):  # earlier commits have one form only
                stack.enter_context(patch.object(module, "fixed_shapes", lambda device: True))
        yield


def profile_steps(detector: DenseModel, images: TrainingImages, config: TrainingConfig) -> Counts:
    """Return what torch's profiler sees of the same steps, which the CPU computes in the form of a GPU's."""

    def begin(part: str) -> None:
        with record_function(MARK + part):
            pass

    with ExitStack() as stack:
        stack.enter_context(fixed_shapes())
        stack.enter_context(_parts(detector, begin))
        seen = stack.enter_context(profile(activities=[ProfilerActivity.CPU], experimental_config=NAMES))
        loop.train_detector(detector, images, config, STEPS + 2, 0, "profile")
    counts = Counts()
    for event in sorted(seen.events(), key=lambda event: event.time_range.start):
        if event.cpu_parent is None:
            _add(counts, event)
    return counts


def _add(counts: Counts, event: FunctionEvent) -> None:
    """Count an event that the profiler has recorded, or those within it."""
    if event.name == MARK + PARTS[0]:
        counts.begin()
    if event.name.startswith(MARK):
        counts.part = event.name.removeprefix(MARK)
        return
    operator = _operator(event)
    if operator is None or torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), COMPOSED):
        for child in event.cpu_children:
            _add(counts, child)
        return
    name = operator.overloadpacket.__name__
    if not operator.is_view and name not in NOT_LAUNCHED:
        counts.count(counts.operators, (counts.part, name))
    if name in WAITING or (
        name.startswith("index") and any(one.name == "aten::nonzero" for one in event.cpu_children)
    ):
        counts.count(counts.waits, (counts.part, name))


def _operator(event: FunctionEvent) -> Any:
    """Return torch's operator of an event, or None of another event."""
    kind, _, name = event.name.partition("::")
    overloads = getattr(torch.ops.aten, name, None) if kind == "aten" else None
    return getattr(overloads, event.overload_name or "default", None)


class _FromNumbers(TorchFunctionMode):
    """Counts tensors that are made of the processor's numbers: they are copied, which waits."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: tuple[Any, ...] = (), named: Any = None
    ) -> Any:
        device = (named or {}).get("device")
        made = function is torch.tensor and device is not None and torch.device(device) == META
        if made or (getattr(function, "__name__", "") == "new_tensor" and arguments[0].is_meta):
            self._counts.count(self._counts.copies, self._counts.part)
            self._counts.count(self._counts.waits, (self._counts.part, "tensor of numbers"))
        return function(*arguments, **(named or {}))


class _Operators(TorchDispatchMode):
    """Counts operators, and answers those that need numbers."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        named, name = named or {}, function.overloadpacket.__name__
        given = [one for one in tree_leaves((arguments, named)) if isinstance(one, Tensor)]
        from_device = any(one.is_meta for one in given)
        if from_device:
            answer = self._answer(name, given, arguments, named)
            if answer is not None:
                return answer
        result = None if name == "_fused_sgd_" else function(*arguments, **named)  # which torch lacks on `meta`
        found = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        on_device = from_device or any(one.is_meta for one in found)
        if on_device and name in ("_to_copy", "copy_") and any(not one.is_meta for one in given):
            self._counts.count(self._counts.copies, self._counts.part)
            if not (named.get("non_blocking") or (name == "copy_" and len(arguments) > 2 and arguments[2])):
                self._wait("copy to the GPU")
        if on_device and not function.is_view and name not in NOT_LAUNCHED:
            self._counts.count(self._counts.operators, (self._counts.part, name))
        return result

    def _answer(self, name: str, given: list[Tensor], arguments: Any, named: Any) -> Any:
        """Return made-up numbers, or None of an operator that needs none."""
        first = given[0]
        if name == "_local_scalar_dense":
            self._wait("item")
            return first.dtype != torch.bool and torch.ones((), dtype=first.dtype).item()
        if name == "_to_copy" and torch.device(named.get("device") or META) != META:
            self._wait("copy from the GPU")
            return torch.ones(first.shape, dtype=named.get("dtype") or first.dtype)
        if name == "nonzero":
            self._wait(name)
            return torch.empty((ROWS, first.ndim), dtype=torch.int64, device=META)
        if name == "masked_select":
            self._wait(name)
            return torch.empty(ROWS, dtype=first.dtype, device=META)
        if name.startswith("index") and any(one.dtype == torch.bool for one in given[1:]):
            self._wait("index by bool")
            if name == "index":
                used = sum(one.ndim if one.dtype == torch.bool else 1 for one in given[1:])
                return torch.empty((ROWS, *first.shape[used:]), dtype=first.dtype, device=META)
        return None

    def _wait(self, what: str) -> None:
        self._counts.count(self._counts.waits, (self._counts.part, what))


def count_all() -> dict[str, dict[str, Any]]:
    """Return the counts of some detectors, by name: operators by part of a step, copies, waits."""
    on_maps: dict[str, Any] = {
        "weights": None,
        "width": SIDE,
        "height": SIDE,
        "anchor_scales": (0.08, 0.15, 0.28, 0.5, 0.8),
        "aspect_ratios": (2.0,),
    }
    ssd = SSDConfig(name="ssd", **on_maps)
    asked: dict[str, tuple[Any, float]] = {
        "small_ssd": (SmallSSDConfig(width=SIDE, height=SIDE), 0.0),
        "ssd, tf_efficientnet_lite0": (ssd, 0.0),
        "the same with `training.moving_average`": (ssd, 0.99),
        "retinanet, tf_efficientnet_lite0": (TimmRetinaNetConfig(name="retinanet", **on_maps), 0.0),
    }
    found = {}
    for name, (config, average) in asked.items():
        detector = random_detector(config, CLASSES, 0)
        assert isinstance(detector, DenseModel)
        training = TrainingConfig(batch_size=BATCH, moving_average=average)
        profiled = profile_steps(detector, _images(config), training)
        counts = count_steps(detector, _images(config), training)
        found[name] = {
            "operators": {part: counts.launched(part) for part in PARTS},
            "waits": {part: counts.waited(part) for part in PARTS},
            "copies": sum(counts.copies.values()) / STEPS,
            "profiled": {part: (profiled.launched(part), profiled.waited(part)) for part in PARTS},
        }
    return found


def _images(config: Any) -> TrainingImages:
    sizes, rows = np.full((BATCH, 2), SIDE), np.arange(BATCH)
    corner = torch.rand(BATCH, BOXES, 2) * SIDE / 2
    targets = Targets(torch.cat([corner, corner + SIDE / 4], 2), torch.zeros(BATCH, BOXES, dtype=torch.int64))
    pixels = Images(np.zeros((BATCH, SIDE, SIDE, 3), np.uint8), sizes, config.image_canvas)
    return TrainingImages(rows, pixels, rows, targets, torch.full((BATCH, 2), float(SIDE)))


if __name__ == "__main__":  # by `gpu_page`, of the code of another commit
    print(json.dumps(count_all()))
