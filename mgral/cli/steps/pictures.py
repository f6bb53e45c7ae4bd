"""Step `pictures`: the pixels of a chunk of a project's pictures, for all its rounds."""

from pathlib import Path
from typing import Literal, get_args

import click

from mgral.cli import options
from mgral.cli.found import faults_shown, show_repairs
from mgral.config import DeepGrey, Exif, PictureSettings
from mgral.data.chunks import ChunkFiles, PixelSettings, cache_chunk


@click.command("pictures")
@click.option("--chunk", type=options.FILE, required=True, help="List of the pictures, in the project's `pictures/`.")
@click.option("--width", type=click.IntRange(min=1), required=True, help="Width of the canvas, in pixels.")
@click.option("--height", type=click.IntRange(min=1), required=True, help="Height of the canvas, in pixels.")
@click.option(
    "--placement",
    type=click.Choice(["stretch", "shrink", "fit"]),
    required=True,
    help="How pictures fill the canvas.",
)
@click.option("--exif", type=click.Choice(get_args(Exif)), required=True, help="data.exif")
@click.option("--deep-grey", type=click.Choice(get_args(DeepGrey)), required=True, help="data.deep_grey")
@click.option("--max-pixels", type=click.IntRange(min=2), required=True, help="data.max_pixels")
@click.option("--encoded", is_flag=True, help="Write the image files, not pixels.")
@click.option("--threads", type=click.IntRange(min=1), default=1, envvar="OMP_NUM_THREADS", help="Decoding threads.")
@click.option("--output", type=options.FILE, required=True, help="Array to write (.npy).")
@click.option("--thumbnails", type=options.FILE, required=True, help="Thumbnails to write (.npy).")
@click.option("--gone", type=options.FILE, required=True, help="JSON to write: pictures that are gone for good.")
def command(
    chunk: Path,
    width: int,
    height: int,
    placement: Literal["stretch", "shrink", "fit"],
    exif: Exif,
    deep_grey: DeepGrey,
    max_pixels: int,
    encoded: bool,
    threads: int,
    output: Path,
    thumbnails: Path,
    gone: Path,
) -> None:
    """Write the pictures of a chunk in the order of its list, as the step `cache` writes those of a split.

    `project.yaml` and `pictures/moved.json` in the project's folder have their paths. If pictures are missing,
    changed or damaged, all are listed at once and nothing is written.
    """
    pictures = PictureSettings(exif=exif, deep_grey=deep_grey, max_pixels=max_pixels)
    settings = PixelSettings(width, height, placement, encoded, pictures)
    with faults_shown(as_json=False, in_log=True):
        findings = cache_chunk(chunk, settings, ChunkFiles(output, thumbnails, gone), threads)
    show_repairs(findings, all_listed="")
