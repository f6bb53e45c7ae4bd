"""Command `project push`."""

from pathlib import Path

import click

from mgral.cli import options as shared_options
from mgral.cli.project import options
from mgral.labelling.servers.interface import Pictures


@click.command("push")
@click.argument("output", metavar="[FOLDER]", type=shared_options.FOLDER, required=False)
@options.folder
@click.option(
    "--to",
    "tool",
    type=click.Choice(["label-studio", "cvat"]),
    help="Labelling tool.  [default: that of the last push]",
)
@click.option("--url", help="Address of its server, such as http://localhost:8080.  [default: that of the last push]")
@click.option("--round", "number", type=click.IntRange(1), help="Round to send.  [default: the latest]")
@click.option("--person", type=click.IntRange(1), help="Send this person's share of a split round.  [default: all]")
@click.option(
    "--pictures",
    type=click.Choice(["serve", "upload"]),
    help="Let the server read pictures from the disk, or upload them.  [default: upload if it cannot read them]",
)
@click.option("--anew", is_flag=True, help="Make a new project on the server if the earlier one was deleted.")
def command(
    output: Path | None,
    folder: Path,
    tool: str | None,
    url: str | None,
    number: int | None,
    person: int | None,
    pictures: Pictures | None,
    anew: bool,
) -> None:
    """Send the tasks of a round, or of a FOLDER written by `again` or `check`, to the server of a labelling tool.

    Tasks that are on the server are not sent again; an interrupted push continues. The token is read from the
    environment. For Label Studio it is LABEL_STUDIO_API_KEY, from "Account & Settings". For CVAT it is
    CVAT_ACCESS_TOKEN, or CVAT_USERNAME and CVAT_PASSWORD, and CVAT_ORGANIZATION for a project of an organization.

    CVAT support follows the schema of CVAT's SDK. It was not tested on a real server.
    """
    from mgral.labelling.servers.pushing import push, tool_of

    lines = push(
        folder,
        tool=tool_of(tool) if tool else None,
        url=url,
        number=number,
        output=output,
        person=person,
        pictures=pictures,
        anew=anew,
    )
    click.echo("\n".join(lines))
