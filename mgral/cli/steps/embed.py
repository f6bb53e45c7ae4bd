"""Step `embed`: one vector for each training image, labelled or not."""

from pathlib import Path

import click

from mgral.artefacts.files import write_arrays
from mgral.artefacts.seeds import derive_seed
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP
from mgral.config import load_config
from mgral.data.derive import assume_settings, load_derived
from mgral.data.image_set import load_image_set
from mgral.data.results import load_features, load_found
from mgral.models.build import build_detector, load_detector
from mgral.selection.features import embed_features, extract_features, given_features
from mgral.selection.pool import load_labelled

RANDOM_FEATURES = (
    "without a label and with detector.weights null, images are compared by a network of random weights; set "
    "detector.weights for features that mean something"
)


@click.command("embed", epilog=HELP)
@options.config
@options.derived
@options.dataset
@options.images
@options.labelled
@click.option("--detector", type=options.FILE, help="Weights written by the step `detector`; none without a label.")
@options.weights
@options.seed
@options.embedding
@options.gpus
@options.vram_mb
@options.output_option("Embeddings to write (safetensors).")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
    dataset: Path,
    images: Path,
    labelled: Path,
    detector: Path | None,
    weights: Path | None,
    seed: int,
    embedding: str,
    gpus: int,
    output: Path,
) -> None:
    """Embed images by the detector's pooled features, standardised and projected on their principal components.

    The file also contains the predicted object counts of each class, learnt from the labelled images.

    Without labelled images there is no detector: the features are those of the initial weights (--weights), and all
    counts are 0.
    """
    device = choose_device(gpus)
    config = load_derived(load_config(config_path), derived).with_settings("embedding", embedding)
    data, labelled_ids = load_image_set(dataset, images, config.detector), load_labelled(labelled)
    gives, classes = config.detector.command_gives or (), len(data.dataset.categories)
    if detector is None:
        if len(labelled_ids):
            raise click.UsageError("there are labelled images, and so a detector; give --detector")
        if weights is None:
            click.echo(f"warning: {RANDOM_FEATURES}", err=True)
        settings = assume_settings(config).detector
        network = build_detector(settings, classes, derive_seed(seed, "weights"), weights).eval().to(device)
        features = extract_features(network, data.images, classes)
    elif "features" in gives:
        found_boxes = load_found(detector, "train") if "probabilities" in gives else None
        features = given_features(load_features(detector), found_boxes, classes)
    else:
        features = extract_features(
            load_detector(detector, config.detector, classes).to(device), data.images, classes
        )
    write_arrays(output, embed_features(config, data.dataset, labelled_ids, features, seed).arrays())
