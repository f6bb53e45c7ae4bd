"""Batches on the way to a detector: drawn on the CPU, copied to its device in one piece, and changed there."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mgral.compute.device import fixed_shapes, image_memory
from mgral.compute.distributed import shard
from mgral.config import AugmentationConfig
from mgral.models.interface import Targets
from mgral.training.augmentation import Changes, draw_changes, show_changed
from mgral.training.batches import Sampler, TrainingImages
from mgral.training.crops import in_sides

READ_TOGETHER = 64
"""Images that are read together where all are copied to a GPU."""


class Part(NamedTuple):
    """What of a batch goes through the detector at once."""

    weight: float
    """Images of this part, in all processes, divided by those of the batch; the weights of a batch sum to 1."""
    chosen: Tensor
    """Rows of the part's images in `TrainingImages`, in all processes, int64 [n]."""
    drawn: list[Tensor]
    """Of this process' images, on the CPU: what `Feed.show` takes, on the device."""


class Feed:
    """Batches of training images with random changes.

    Random numbers are drawn on the CPU for the complete batch, so they are the same on every device and with any
    number of processes. The images are kept on a GPU if they take a small part of its memory. Then no image is read
    twice.
    """

    def __init__(
        self,
        images: TrainingImages,
        batch_size: int,
        parts: int,
        augmentation: AugmentationConfig,
        seeds: tuple[int, int],
        device: torch.device,
    ) -> None:
        """Take the images, how a batch is drawn, the seeds of batches and of augmentation, and the device."""
        self._images, self._parts, self._augmentation, self._device = images, parts, augmentation, device
        self._sampler = Sampler(len(images.rows), batch_size, seeds[0])
        self._generator = torch.Generator().manual_seed(seeds[1])
        self._canvases: Tensor | None = None
        self._fits = 0 < images.pixel_bytes <= image_memory(device)

    def draw(self) -> Iterator[Part]:
        """Yield the parts of the next batch."""
        if self._fits and self._canvases is None:
            self._canvases = self._copy_to_device()
        chosen = self._sampler.draw()
        boxes = in_sides(self._images.boxes(chosen), self._images.covered[chosen])
        changes = draw_changes(boxes, self._augmentation, self._generator)
        self._changed = [part is not None for part in changes]
        parts = torch.arange(len(chosen)).tensor_split(self._parts)
        for number, part in enumerate(parts, start=1):
            drawn = self._inputs_of(chosen, changes, shard(part))
            if number == len(parts) and not self._fits:
                following = self._sampler.peek()
                self._images.prefetch(following[torch.cat([shard(part) for part in parts])])
            yield Part(len(part) / len(chosen), chosen[part], drawn)

    def _inputs_of(self, chosen: Tensor, changes: Changes, positions: Tensor) -> list[Tensor]:
        """Return what `show` takes of the images of a batch at these positions of it."""
        images = chosen[positions]
        boxes = self._images.boxes(images, padded=fixed_shapes(self._device))
        pixels = images if self._fits else self._images.pixels(images)
        drawn = [part[positions] for part in changes if part is not None]
        return [pixels, *boxes, self._images.covered[images], *drawn]

    def show(self, drawn: Sequence[Tensor]) -> tuple[Tensor, Targets]:
        """Return the images of a part as a detector is shown them, and their boxes; what was drawn is on the device.

        On a GPU no shape depends on what was drawn, and nothing waits, so that it can be part of a CUDA graph.
        """
        pixels, boxes, labels, covered, *values = drawn
        if self._canvases is not None:
            pixels = self._canvases.index_select(0, pixels)
        remaining = iter(values)
        changes = Changes(*(next(remaining) if changed else None for changed in self._changed))  # type: ignore[arg-type]
        images = pixels.permute(0, 3, 1, 2)
        return show_changed(images, Targets(boxes, labels), covered, self._images.images.canvas, changes)

    def _copy_to_device(self) -> Tensor:
        """Copy all images to the device, uint8 [n, height, width, 3]."""
        canvas = self._images.images.canvas
        chunks = torch.split(torch.arange(len(self._images.rows)), READ_TOGETHER)
        canvases = torch.empty(
            len(self._images.rows), canvas.height, canvas.width, 3, dtype=torch.uint8, device=self._device
        )
        for chunk, following in zip(chunks, (*chunks[1:], chunks[-1][:0]), strict=True):
            pixels = self._images.pixels(chunk)
            self._images.prefetch(following)
            canvases[chunk[0] : chunk[-1] + 1] = pixels.to(self._device)
        return canvases

    def state_dict(self) -> dict[str, Any]:
        """Return the generators' states and what is left of the epoch."""
        return {"sampler": self._sampler.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the feed that gave `state` was."""
        self._sampler.load_state_dict(state["sampler"])
        self._generator.set_state(state["generator"])


def place(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy tensors from the CPU to a device in one piece, without waiting for it; on the CPU return them."""
    if device.type == "cpu":
        return list(tensors)
    return unpack(pack(tensors, pinned=device.type == "cuda").to(device, non_blocking=True), tensors)


def pack(tensors: Sequence[Tensor], *, pinned: bool = False) -> Tensor:
    """Return the bytes of tensors one after the other, uint8 [n]; a GPU copies from pinned memory without waiting."""
    ordered = [tensors[index].contiguous() for index in _widest_first(tensors)]
    flat = torch.empty(sum(tensor.nbytes for tensor in ordered), dtype=torch.uint8, pin_memory=pinned)
    return torch.cat([tensor.flatten().view(torch.uint8) for tensor in ordered], out=flat)


def unpack(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return views of packed bytes, with the shapes and dtypes of the tensors that were packed."""
    order = _widest_first(like)
    parts = torch.split(flat, [like[index].nbytes for index in order])
    bytes_by_index = dict(zip(order, parts, strict=True))
    return [bytes_by_index[index].view(tensor.dtype).view(tensor.shape) for index, tensor in enumerate(like)]


def _widest_first(tensors: Sequence[Tensor]) -> list[int]:
    """Return the order in which each begins at a multiple of its element's size."""
    return sorted(range(len(tensors)), key=lambda index: -tensors[index].itemsize)
