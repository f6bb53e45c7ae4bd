"""Step `embed`: one vector for each training image, labelled or not."""

from pathlib import Path

import click

from mgral.artefacts.files import write_arrays
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.data.results import load_features, load_found
from mgral.models.build import load_detector
from mgral.selection.features import embed_features, extract_features, given_features
from mgral.selection.pool import load_labelled


@click.command("embed", epilog=HELP)
@options.config
@options.derived
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
    derived: tuple[Path, ...],
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

    Beside them stand, unless `embedding.object_counts` is false, the predicted counts of objects of each class,
    standardised: they are learnt from the labelled images. Either part has a mean squared norm of 1.
    """
    device = choose_device(gpus)
    config = load_derived(load_config(config_path), derived).with_settings("embedding", embedding)
    data, known = load_image_set(dataset, images, config.detector), load_labelled(labelled)
    gives, classes = config.detector.command_gives or (), len(data.dataset.categories)
    if "features" in gives:
        found = load_found(detector, "train") if "probabilities" in gives else None
        features = given_features(load_features(detector), found, classes)
    else:
        features = extract_features(
            load_detector(detector, config.detector, classes).to(device), data.images, classes
        )
    write_arrays(output, embed_features(config, data.dataset, known, features, seed).arrays())
