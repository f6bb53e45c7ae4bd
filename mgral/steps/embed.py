"""Step `embed`: one vector for each training image, labelled or not."""

from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from mgral.artefacts import write_arrays
from mgral.config import load_config
from mgral.data.canvas import canvas_of
from mgral.data.dataset import load_dataset
from mgral.data.images import load_images
from mgral.detectors import load_detector
from mgral.device import choose_device
from mgral.driver import HELP
from mgral.embedding import look_at, project, standardise
from mgral.steps import options


@click.command("embed", epilog=HELP)
@options.config
@options.dataset
@options.images
@options.detector
@options.gpus
@options.written("Embeddings to write (safetensors).")
def command(config_path: Path, dataset: Path, images: Path, detector: Path, gpus: int, output: Path) -> None:
    """Embed images by the detector's pooled features, standardised and projected on their principal components.

    Beside them stand, unless `embedding.class_scores` is false, the sums of the scores of the objects found of each
    class, standardised. Either part has a mean squared norm of 1.
    """
    device = choose_device(gpus)
    config = load_config(config_path)
    data = load_dataset(dataset)
    network = load_detector(detector, config.detector, len(data.categories)).to(device)
    cached = load_images(images, data, canvas_of(config.detector))
    features, class_scores = look_at(network, cached, len(data.categories))
    components = project(features, config.embedding.dimensions)
    parts = [components, standardise(class_scores)] if config.embedding.class_scores else [components]
    arrays: dict[str, npt.NDArray[Any]] = {
        "image_ids": data.image_ids,
        "embeddings": np.concatenate(parts, axis=1),
        "components": np.array([components.shape[1]]),
    }
    write_arrays(output, arrays)
