"""Step `pseudo_labels`: the labels that the cycle's detector gives the pool."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.method.lut.pseudo_labels import expected_objects, label_pool
from mgral.models.build import load_detector
from mgral.selection.pool import load_labelled


@click.command("pseudo_labels", epilog=HELP)
@options.config
@options.derived
@options.dataset
@options.images
@options.labelled
@options.detector
@options.gpus
@options.vram_mb
@options.output_option("JSON to write: the pseudo-labels of the pool, as COCO results.")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
    dataset: Path,
    images: Path,
    labelled: Path,
    detector: Path,
    gpus: int,
    output: Path,
) -> None:
    """Label the pool with the cycle's detector, for variants that learn from pseudo-labels (lut.labels).

    The detections with the highest scores are used, so that an image has on average as many objects of each class as
    a labelled image.
    """
    device, config = choose_device(gpus), load_derived(load_config(config_path), derived)
    data, labelled_ids = load_image_set(dataset, images, config.detector), load_labelled(labelled)
    network = load_detector(detector, config.detector, len(data.dataset.categories)).to(device)
    pseudo_labels = label_pool(config, data, labelled_ids, network)
    write_json(output, pseudo_labels.to_json())
    expected = expected_objects(data.dataset, labelled_ids, len(pseudo_labels.images)).values()
    click.echo(
        f"{len(pseudo_labels.objects)} objects, of {sum(expected)} expected, in {len(pseudo_labels.images)} images",
        err=True,
    )
