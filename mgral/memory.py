"""How much of a graphics card's memory a job needs, so that Snakemake can let several share one."""

from mgral.config import Config, DetectorConfig, RetinaNetConfig, SmallSSDConfig, SSD300Config
from mgral.data.canvas import canvas_of

CONTEXT_MB = 1500
"""What CUDA, cuDNN and torch take before there is a tensor, in MiB; not measured yet."""
ON_TOP = {"float32": 7.0, "bfloat16": 2.0, "float16": 2.0}
"""What a training takes, divided by what it would keep for the backward pass in float32; most of it is cuDNN's
workspaces. On an H100 4.6 (SSD300 in float32), 6.8 (RetinaNet in float32) and 1.8 (RetinaNet in half precision)."""
LOOKING = 4.0
"""The same of images that are only looked at, in float32: on an H100 3.8 (SSD300) and 0.4 (RetinaNet)."""
AGENT_MB = 2500
"""Of the step `agent`, in MiB: at COCO's size its tensors take 790 on a GPU (`mgral bench agent`)."""


def card_memory_mb(config: Config, step: str) -> int:
    """Return what a job of a step takes of a card's memory, in MiB, if it is given a GPU."""
    if step == "agent":
        return AGENT_MB
    canvas, training = canvas_of(config.detector), config.training
    if step in ("detector", "base", "variant"):
        images = training.batch_size / training.accumulate
        if step == "variant" and config.lut.labels == "semi_supervised":
            # Each of them and its mirror image.
            images += 2 * config.semi_supervised.batch_size / training.accumulate
        factor = ON_TOP[training.precision]
    else:
        images, factor = canvas.chunk, LOOKING
    width, height = canvas.input_size
    return CONTEXT_MB + round(factor * images * width * height * _bytes_a_pixel(config.detector) / 2**20)


def _bytes_a_pixel(config: DetectorConfig) -> float:
    """Return what a training keeps of an image for its backward pass, in bytes a pixel, in float32.

    Added up over the tensors that autograd saved, on the CPU, with those layers trained that are by default.
    """
    match config:
        case SmallSSDConfig():
            return 6.8 * config.channels
        case SSD300Config():
            return 940
        case RetinaNetConfig():
            return 755
