"""Step `embed`: one vector for each training image, labelled or not."""

from pathlib import Path

import click

from mgral.artefacts import write_arrays
from mgral.config import load_config
from mgral.data.canvas import canvas_of
from mgral.data.dataset import load_dataset
from mgral.data.images import load_images
from mgral.detectors import load_detector
from mgral.device import choose_device
from mgral.driver import HELP
from mgral.embedding import pooled_features, project
from mgral.steps import options


@click.command("embed", epilog=HELP)
@options.config
@options.dataset
@options.images
@options.detector
@options.gpus
@options.written("Embeddings to write (safetensors).")
def command(config_path: Path, dataset: Path, images: Path, detector: Path, gpus: int, output: Path) -> None:
    """Embed images by the detector's pooled features: standardised, then principal components."""
    device = choose_device(gpus)
    config = load_config(config_path)
    data = load_dataset(dataset)
    network = load_detector(detector, config.detector, len(data.categories)).to(device)
    features = pooled_features(network, load_images(images, data, canvas_of(config.detector)))
    embeddings = project(features, config.embedding.dimensions)
    write_arrays(output, {"image_ids": data.image_ids, "embeddings": embeddings})
