"""Command-line options that several steps share."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from mgral.compute.gpus import DEVICE_VARIABLE
from mgral.config import DEFAULT

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


def output_option(help_text: str) -> Callable[[Any], Any]:
    """Return the option --output, with a help text that says what the step writes there."""
    return click.option("--output", type=FILE, required=True, help=help_text)


def refuse_overwriting(outputs: Iterable[Path | None], inputs: Iterable[Path]) -> None:
    """Raise click.UsageError where two outputs are the same file, or an output is one that the step reads."""
    read_paths, written_paths = {path.resolve() for path in inputs}, set()
    for path in filter(None, outputs):
        if path.resolve() in read_paths:
            raise click.UsageError(f"{path} is read by this step; write to another file")
        if path.resolve() in written_paths:
            raise click.UsageError(f"{path} is to be written twice; give each output a file of its own")
        written_paths.add(path.resolve())


config = click.option(
    "--config",
    "--configfile",
    "config_path",
    type=FILE,
    required=True,
    help="The experiment's config.yaml, or your own configuration.",
)
dataset = click.option("--dataset", type=FILE, required=True, help="COCO JSON written by the step `data`.")
root = click.option("--root", type=FOLDER, help="Data folder, in place of `data.root`.")
images = click.option("--images", type=FILE, required=True, help="Image cache (.npy) of the same data set.")
labelled = click.option("--labelled", type=FILE, required=True, help="JSON with the ids labelled so far.")
subsets = click.option("--subsets", type=FILE, required=True, help="Plan written by the step `subsets`.")
embeddings = click.option("--embeddings", type=FILE, required=True, help="Embeddings of all training images.")
weights = click.option("--weights", type=FILE, help="Written by the step `weights`, if detector.weights is not null.")
detector = click.option("--detector", type=FILE, required=True, help="Weights written by the step `detector`.")
derived = click.option(
    "--derived",
    type=FILE,
    multiple=True,
    help="Derived settings, written by the step `input_size` or `derive`; may be repeated.",
)
seed = click.option("--seed", type=int, required=True, help="The repetition; all random numbers derive from it.")
cycle = click.option("--cycle", type=click.IntRange(min=0), required=True, help="The cycle, from 0.")
split = click.option(
    "--split", type=click.IntRange(min=0), required=True, help="The reward split of the table, from 0."
)
strategy = click.option("--strategy", required=True, help="Name of the strategy in the configuration.")
table = click.option(
    "--table", default=DEFAULT, help="Name of the lookup table's settings, as in the name of its folder."
)
reward = click.option(
    "--reward", default=DEFAULT, help="Name of the reward's settings, as in the name of its folder."
)
embedding = click.option(
    "--embedding", default=DEFAULT, help="Name of the embeddings' settings, as in the name of their file."
)
gpus = click.option("--gpus", type=click.IntRange(0, 1), default=0, help="0 for the CPU, 1 for a GPU.")


def _keep_to_cpu(_: click.Context, __: click.Parameter, asked: bool) -> None:
    if asked:
        os.environ[DEVICE_VARIABLE] = "cpu"  # which jobs have from here


cpu = click.option(
    "--cpu",
    is_flag=True,
    expose_value=False,
    callback=_keep_to_cpu,
    help=f"Compute on the CPU, even if there is a GPU; the same as {DEVICE_VARIABLE}=cpu in the environment.",
)
VRAM = "vram_mb"
"""Where click keeps the value of --vram-mb for `mgral.cli.main`."""


def _keep_vram(ctx: click.Context, _: click.Parameter, memory_mb: int) -> None:
    ctx.meta[VRAM] = memory_mb


vram_mb = click.option(
    "--vram-mb",
    type=click.IntRange(min=0),
    default=0,
    show_default="all of it",
    expose_value=False,
    callback=_keep_vram,
    help="MiB of GPU memory that the step needs: it shares a GPU with other jobs if there is enough memory.",
)
results = click.option(
    "--results", type=FOLDER, required=True, help="Folder of an experiment's results, or of a project's round."
)
repetition = click.option("--seed", type=int, show_default="the first", help="The repetition of the detector.")
trained_detector = click.option(
    "--detector",
    "place",
    metavar="FOLDER",
    help="Folder of the detector in that of the repetition, such as full/cycle0.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
