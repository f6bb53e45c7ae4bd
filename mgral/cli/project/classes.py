"""Command `project classes`."""

from pathlib import Path
from typing import Any

import click

from mgral.cli.project import options
from mgral.errors import number_of, program
from mgral.labelling import classes
from mgral.labelling.ledger import writing
from mgral.labelling.state import load_project
from mgral.labelling.status import images_to_check


@click.group("classes")
def command() -> None:
    """Add, rename, merge and split classes.

    Pictures that were labelled before a class was added, or that show a class that was split, must be checked again:
    `mgral project again FOLDER` writes tasks for them.
    """


def _record(folder: Path, change: Any, *arguments: Any) -> None:
    """Write a change of the classes into the ledger, and print what there is now."""
    with writing(folder) as writer:
        writer.add("classes", [change(load_project(folder), *arguments)])
    project = load_project(folder)
    click.echo(f"classes: {', '.join(project.classes.values())}")
    if waiting := images_to_check(project):
        click.echo(
            f"{number_of(len(waiting), 'picture')} must be checked again; write tasks for them in a new folder: "
            f"{program()} project again again"
        )


@command.command("add")
@click.argument("names", nargs=-1, required=True)
@options.folder
def add(names: tuple[str, ...], folder: Path) -> None:
    """Add classes; commas separate names too."""
    _record(folder, classes.add_classes, [name for argument in names for name in options.class_names(argument)])


@command.command("rename")
@click.argument("old")
@click.argument("new")
@options.folder
def rename(old: str, new: str, folder: Path) -> None:
    """Give a class another name; its boxes stay."""
    _record(folder, classes.rename_class, old, new)


@command.command("merge")
@click.argument("names", nargs=-1, required=True)
@click.option("--into", required=True, help="Name of the merged class.")
@options.folder
def merge(names: tuple[str, ...], into: str, folder: Path) -> None:
    """Merge several classes into one; their boxes stay."""
    _record(folder, classes.merge_classes, names, into)


@command.command("split")
@click.argument("name")
@click.option("--into", multiple=True, required=True, help="Name of a new class; give it twice or more.")
@options.folder
def split(name: str, into: tuple[str, ...], folder: Path) -> None:
    """Split a class into several; pictures that show it are used again once they are checked."""
    _record(folder, classes.split_class, name, into)
