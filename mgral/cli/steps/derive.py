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
@options.written("JSON to write: the values of those settings that are null.")
def command(config_path: Path, dataset: Path, labelled: Path, derived: tuple[Path, ...], output: Path) -> None:
    """Derive anchors and iterations from the boxes of the initially labelled images, once for all cycles.

    No other label is read. What is set in the configuration is not derived. The values of --derived are written too.
    """
    config, data, known = load_config(config_path), load_dataset(dataset), load_labelled(labelled)
    sized = load_derived(config, derived)
    full = sized.with_derived(derive_from_labels(sized, data, known))
    write_json(output, full.values_of(config.open_keys))
    click.echo("\n".join(settings_lines(config, full, data, known)), err=True)
