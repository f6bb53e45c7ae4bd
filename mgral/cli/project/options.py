"""Options that several commands of a project share."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import click

from mgral.cli import options
from mgral.errors import InputError
from mgral.labelling.exchange.read import FormatName
from mgral.labelling.names import Names
from mgral.labelling.state import Project

folder = click.option("--folder", type=options.FOLDER, default=Path(), help="The project's folder.")
label_format = click.option(
    "--format",
    "label_format",
    type=click.Choice(get_args(FormatName)),
    help="Format of the labels; by default it is recognised from the file.",
)
task_formats = click.option(
    "--format",
    "formats",
    type=click.Choice(get_args(FormatName)),
    multiple=True,
    default=get_args(FormatName),
    show_default="all",
    help="Labelling tools to write tasks for; may be repeated.",
)


def _check_cores(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the value of --cores; raises click.BadParameter where it is neither a number nor all."""
    if value is not None and value != "all" and not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise click.BadParameter(f"{value!r} is neither a number of cores, from 1, nor all")
    return value


cores = click.option(
    "--cores", callback=_check_cores, help="Cores of this machine to use.  [default: all, or those of the profile]"
)
profile = click.option("--profile", type=click.Path(path_type=Path), help="Profile of Snakemake: slurm, or a folder.")
cpu = options.cpu
snakemake_options = click.argument(
    "snakemake_options", metavar="[-- SNAKEMAKE OPTIONS]", nargs=-1, type=click.UNPROCESSED
)
empty = click.option(
    "--empty",
    type=click.Choice(["unknown", "checked"]),
    default="unknown",
    help="In formats without this information, pictures without boxes are unlabelled, or checked and empty.",
)
rename = click.option(
    "--rename",
    multiple=True,
    metavar="THEIRS=OURS",
    help="Name in the project for a class of the file; may be repeated.",
)
unknown = click.option(
    "--unknown",
    type=click.Choice(["refuse", "leave_out"]),
    default="refuse",
    help="Pictures that are not in the project: an error, or left out.",
)
shapes = click.option(
    "--shapes",
    type=click.Choice(["envelope", "refuse"]),
    help="Polygons, masks and rotated boxes: use the enclosing box, or refuse.  [default: `shapes` in project.yaml]",
)


def class_names(text: str) -> tuple[str, ...]:
    """Return names of classes that are separated by commas."""
    return tuple(name.strip() for name in text.split(","))


def renames(pairs: tuple[str, ...]) -> Mapping[str, str]:
    """Return the pairs of --rename; raises click.BadParameter where one has no `=`, or a name has two new names."""
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise click.BadParameter(f"write THEIRS=OURS, found {wrong[0]!r}", param_hint="--rename")
    new_names: dict[str, str] = {}
    for theirs, ours in (pair.split("=", 1) for pair in pairs):
        if new_names.setdefault(theirs, ours) != ours:
            raise click.BadParameter(
                f"{theirs!r} is given two names, {new_names[theirs]!r} and {ours!r}; give one", param_hint="--rename"
            )
    return new_names


def images_of(project: Project, names: tuple[str, ...]) -> list[int]:
    """Return the numbers of pictures given by number or by name; raises InputError that names all unknown ones."""
    image_names = Names(project)
    images: list[int] = []
    wrong: list[str] = []
    for name in names:
        matches = image_names.find(name)
        if len(matches) == 1:
            images += matches
        elif not matches and name.isdecimal() and int(name) in project.images:
            images.append(int(name))
        else:
            wrong.append(f"{name} ({'several pictures have it' if matches else 'not of this project'})")
    if wrong:
        raise InputError(f"pictures: {', '.join(wrong[:5])}; give the path below the folder of pictures")
    return sorted(set(images))
