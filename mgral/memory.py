"""How much of a graphics card's memory a job needs, so that Snakemake can let several share one."""

from mgral.config import Config, DetectorConfig, RetinaNetConfig, SmallSSDConfig, SSD300Config
from mgral.data.canvas import canvas_of

CONTEXT_MB = 1500
"""What CUDA, cuDNN and torch take before there is a tensor, in MiB; not measured yet."""
ON_TOP = 1.5
"""Of what is kept for the backward pass: gradients, optimiser and workspaces beside it; not measured yet."""
AGENT_MB = 2500
"""Of the step `agent`, in MiB: what it takes at COCO's size on a CPU (`mgral bench agent`)."""


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
    else:
        images = canvas.chunk
    width, height = canvas.input_size
    return CONTEXT_MB + round(ON_TOP * images * width * height * _bytes_a_pixel(config.detector) / 2**20)


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
