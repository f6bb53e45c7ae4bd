"""Step `derive`: anchors and iterations, from the initially labelled boxes."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.derive import derive_from_labels, load_derived, settings_lines
from mgral.selection.pool import load_labelled


@click.command("derive")
@options.config
@options.dataset
@options.labelled
@options.derived
@options.output_option("JSON to write: input size, anchors and iterations, as far as they are null.")
def command(config_path: Path, dataset: Path, labelled: Path, derived: tuple[Path, ...], output: Path) -> None:
    """Derive anchors and iterations from the boxes of the initially labelled images, once for all cycles.

    No other label is read. Settings of the configuration that are not null are kept.
    """
    config, data, labelled_ids = load_config(config_path), load_dataset(dataset), load_labelled(labelled)
    sized = load_derived(config, derived)
    derived_settings = derive_from_labels(sized, data, labelled_ids)
    if "width" in config.detector.open_keys:
        derived_settings["detector"] |= {
            "width": sized.detector.image_canvas.width,
            "height": sized.detector.image_canvas.height,
        }
    write_json(output, derived_settings)
    click.echo("\n".join(settings_lines(config, sized.with_derived(derived_settings), data, labelled_ids)), err=True)
