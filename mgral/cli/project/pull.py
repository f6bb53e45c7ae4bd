"""Command `project pull`."""

from pathlib import Path

import click

from mgral.cli.found import show_repairs
from mgral.cli.project import options
from mgral.labelling.settings import Shapes


@click.command("pull")
@options.folder
@click.option("--url", help="Ask this server only, as when another is gone.  [default: all that were pushed to]")
@options.rename
@options.unknown
@options.shapes
def command(folder: Path, url: str | None, rename: tuple[str, ...], unknown: str, shapes: Shapes | None) -> None:
    """Read labels from the servers that were pushed to. Only what people have finished counts.

    A part of a batch is fine, and what was read before changes nothing. Where anything is wrong, nothing is imported.
    The token is in the environment, as for `push`.
    """
    from mgral.labelling.servers.pulling import pull

    lines, findings = pull(
        folder, url=url, renamed=options.renames(rename), leave_out_unknown=unknown == "leave_out", shapes=shapes
    )
    show_repairs(findings, "warning: used after repairs, or left out:", "")
    click.echo("\n".join(lines))
