"""Step `embed`: one vector for each training image, labelled or not."""

from pathlib import Path

import click
import numpy as np

from mgral.artefacts.files import write_arrays
from mgral.artefacts.seeds import derive_seed
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.images import load_images
from mgral.models.build import load_detector
from mgral.selection.embeddings import standardise
from mgral.selection.features import extract_features, project
from mgral.selection.object_counts import predict_object_counts
from mgral.selection.pool import load_labelled, unlabelled


@click.command("embed", epilog=HELP)
@options.config
@options.dataset
@options.images
@options.labelled
@options.detector
@options.seed
@options.embedding
@options.gpus
@options.written("Embeddings to write (safetensors).")
def command(
    config_path: Path,
    dataset: Path,
    images: Path,
    labelled: Path,
    detector: Path,
    seed: int,
    embedding: str,
    gpus: int,
    output: Path,
) -> None:
    """Embed images by the detector's pooled features, standardised and projected on their principal components.

    An array of its own has the predicted objects of each class in each image, learnt from the labelled images.
    """
    device = choose_device(gpus)
    config = load_config(config_path).with_settings("embedding", embedding)
    data, known = load_dataset(dataset), load_labelled(labelled)
    data = data.without_labels(unlabelled(data.image_ids, known))
    network = load_detector(detector, config.detector, len(data.categories)).to(device)
    cached = load_images(images, data, config.detector.image_canvas)
    features, class_scores = extract_features(network, cached, len(data.categories))
    components = project(features, config.embedding.dimensions)
    described = np.concatenate([components, standardise(class_scores)], axis=1)
    chance = derive_seed(seed, "object counts")
    counts = predict_object_counts(described, data.rows(known), data.object_counts(known), chance)
    write_arrays(output, {"image_ids": data.image_ids, "components": components, "object_counts": counts})
