"""Command `project pull`."""

from pathlib import Path

import click

from mgral.cli.found import show_repairs
from mgral.cli.project import options
from mgral.labelling.settings import Shapes


@click.command("pull")
@options.folder
@click.option("--url", help="Read from this server only.  [default: all servers that tasks were pushed to]")
@options.rename
@options.unknown
@options.shapes
def command(folder: Path, url: str | None, rename: tuple[str, ...], unknown: str, shapes: Shapes | None) -> None:
    """Import labels from the servers that tasks were pushed to. Only finished pictures count.

    You can pull a part of a batch, and the rest later. If there is a fault, nothing is imported. The token is read
    from the environment, as for `push`.
    """
    from mgral.labelling.servers.pulling import pull

    lines, findings = pull(
        folder, url=url, renamed=options.renames(rename), leave_out_unknown=unknown == "leave_out", shapes=shapes
    )
    show_repairs(findings, "warning: used after repairs, or left out:", "")
    click.echo("\n".join(lines))
