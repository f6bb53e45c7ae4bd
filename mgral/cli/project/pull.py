"""Command `project pull`."""

from pathlib import Path

import click

from mgral.cli.found import show_repairs
from mgral.cli.project import options
from mgral.labelling.settings import Shapes


@click.command("pull")
@options.folder
@options.rename
@options.unknown
@options.shapes
def command(folder: Path, rename: tuple[str, ...], unknown: str, shapes: Shapes | None) -> None:
    """Read the labels from where was pushed to: only what people have finished counts.

    Half of a batch is fine, and what was read before changes nothing. Where anything is wrong, nothing is imported.
    The token is in the environment, as for `push`.
    """
    from mgral.labelling.servers.pulling import pull

    lines, findings = pull(
        folder, renamed=options.renames(rename), leave_out_unknown=unknown == "leave_out", shapes=shapes
    )
    show_repairs(findings, "warning: used after repairs, or left out:", "")
    click.echo("\n".join(lines))
