"""How much of a graphics card's memory a job needs, so that Snakemake can let several share one."""

from mgral.compute.cards import CONTEXT_MB
from mgral.compute.gpus import KEPT_IMAGES_MB
from mgral.config import Config

TAKEN_TO_KEPT = {"float32": 7.0, "bfloat16": 2.0, "float16": 2.0, "auto": 7.0}
"""What a training takes, divided by what it would keep for the backward pass in float32; most of it is cuDNN's
workspaces. On an H100 4.6 (SSD300 in float32), 6.8 (RetinaNet in float32) and 1.8 (RetinaNet in half precision).
What `auto` will be is not known before the job."""
AGENT_MB = 2500
"""Memory of the step `agent`, in MiB: at COCO's size its tensors take 790 on a GPU (`python -m benchmarks agent`)."""


def card_memory_mb(config: Config, step: str) -> int:
    """Return what a job of a step takes of a card's memory, in MiB, if it is given a GPU."""
    if step == "agent":
        return AGENT_MB
    canvas, training = config.detector.largest_canvas, config.training
    if step in ("detector", "head", "base", "variant", "gain"):
        images, kept_mb = training.batch_size / training.accumulate, KEPT_IMAGES_MB
        if step == "variant" and config.lut.labels == "consistency":
            # Each of them and its mirror image.
            images += 2 * config.semi_supervised.batch_size / training.accumulate
            kept_mb *= 2  # the unlabelled images too
        bytes_a_pixel = TAKEN_TO_KEPT[training.precision] * config.detector.training_bytes
    else:
        images, bytes_a_pixel, kept_mb = canvas.chunk, config.detector.inference_bytes, 0
    width, height = canvas.input_size
    return CONTEXT_MB + kept_mb + round(images * width * height * bytes_a_pixel / 2**20)
