"""Command `project import`."""

from pathlib import Path
from typing import Any

import click

from mgral.cli.found import show_repairs
from mgral.cli.project import options
from mgral.labelling.returning import import_files
from mgral.labelling.settings import Shapes


@click.command("import")
@click.argument("files", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
@options.folder
@options.label_format
@options.empty
@options.rename
@options.unknown
@options.shapes
def command(
    files: tuple[Path, ...],
    folder: Path,
    label_format: Any,
    empty: Any,
    rename: tuple[str, ...],
    unknown: str,
    shapes: Shapes | None,
) -> None:
    """Import labels from files: exports of Label Studio (JSON) and CVAT (for images 1.1), COCO, YOLO, VOC.

    You can import a part of a batch, and the rest later. A file that was imported before changes nothing, and a
    corrected label replaces the earlier one. If a file has a fault, nothing is imported.
    """
    lines, findings = import_files(
        folder,
        files,
        label_format=label_format,
        empty=empty,
        renamed=options.renames(rename),
        leave_out_unknown=unknown == "leave_out",
        shapes=shapes,
    )
    show_repairs(findings, "warning: used after repairs, or left out:", "")
    click.echo("\n".join(lines))
