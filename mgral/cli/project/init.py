"""Command `project init`: a new project."""

import re
import uuid
from pathlib import Path

import click

from mgral.cli import options as shared
from mgral.cli.found import show_repairs
from mgral.cli.project import options
from mgral.config import MAX_PIXELS, DeepGrey, Exif
from mgral.labelling.exchange.read import FormatName


@click.command("init")
@click.argument("folder", type=shared.FOLDER)
@click.option(
    "--pictures", type=shared.FOLDER, multiple=True, required=True, help="Folder of pictures; may be repeated."
)
@click.option("--classes", help="Names of the classes, separated by commas; by default those of the labels.")
@click.option(
    "--labels", type=click.Path(path_type=Path, exists=True), multiple=True, help="Existing labels; may be repeated."
)
@options.label_format
@options.empty
@options.rename
@click.option("--test-pictures", type=shared.FOLDER, help="Folder of a test set, never trained on.")
@click.option("--test-labels", type=click.Path(path_type=Path, exists=True), help="Labels of the test set.")
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    required=True,
    help="Total number of pictures that people will label, including the audit set.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), help="Number of pictures in a round.  [default: a tenth of the budget]"
)
@click.option("--name", help="Name of the project.  [default: that of its folder]")
@click.option(
    "--strategy",
    default="class_presence_per_box",
    show_default=True,
    help="Rule that chooses the pictures; docs/strategies.md lists the names.",
)
@click.option(
    "--video-names",
    help="Regular expression for the part of the name that frames of one video share, such as '^(.+)_frame'.",
)
@click.option(
    "--exif",
    type=click.Choice(["apply", "ignore"]),
    default="apply",
    show_default=True,
    help="Labelling tools show pictures upright by their EXIF orientation, as nearly all do, or as stored.",
)
@click.option(
    "--deep-grey",
    type=click.Choice(["refuse", "full_range", "own_range"]),
    default="refuse",
    show_default=True,
    help="Grey pictures of more than 8 bits: left out, or scaled from the range of their type or from their own.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=2),
    default=MAX_PIXELS,
    show_default=True,
    help="Largest number of pixels of a picture; larger ones are left out.",
)
def command(
    folder: Path,
    pictures: tuple[Path, ...],
    classes: str | None,
    labels: tuple[Path, ...],
    label_format: FormatName | None,
    empty: str,
    rename: tuple[str, ...],
    test_pictures: Path | None,
    test_labels: Path | None,
    budget: int,
    batch: int | None,
    name: str | None,
    strategy: str,
    video_names: str | None,
    exif: Exif,
    deep_grey: DeepGrey,
    max_pixels: int,
) -> None:
    """Make a project in FOLDER, and print what was found.

    Pictures stay where they are. If there is a fault, nothing is written.
    """
    from mgral.labelling.starting import Start, start_project

    start = Start(
        name=name or re.sub(r"[^A-Za-z0-9_.-]", "_", folder.resolve().name).lstrip("_.-") or "project",
        pictures=pictures,
        test_pictures=test_pictures,
        classes=options.class_names(classes) if classes else (),
        labels=labels,
        test_labels=test_labels,
        label_format=label_format,
        empty=empty,
        renames=options.renames(rename),
        budget=budget,
        batch=batch or max(1, budget // 10),
        strategy=strategy,
        video_names=video_names,
        exif=exif,
        deep_grey=deep_grey,
        max_pixels=max_pixels,
    )
    lines, findings = start_project(folder, start, str(uuid.uuid4()))
    show_repairs(findings, all_listed="")
    click.echo("\n".join(lines))
