"""Command-line options that several steps share."""

from pathlib import Path

import click

FILE = click.Path(path_type=Path, dir_okay=False)

config = click.option("--config", "config_path", type=FILE, required=True, help="The experiment's config.yaml.")
dataset = click.option("--dataset", type=FILE, required=True, help="COCO JSON written by the step `data`.")
images = click.option("--images", type=FILE, required=True, help="Image cache (.npy) of the same data set.")
labelled = click.option("--labelled", type=FILE, required=True, help="JSON with the ids of the labelled images.")
subsets = click.option("--subsets", type=FILE, required=True, help="JSON written by the step `subsets`.")
embeddings = click.option("--embeddings", type=FILE, required=True, help="Written by the step `embed`.")
detector = click.option("--detector", type=FILE, required=True, help="Weights written by the step `detector`.")
seed = click.option("--seed", type=int, required=True, help="The repetition; all random numbers derive from it.")
cycle = click.option("--cycle", type=click.IntRange(min=0), required=True, help="The cycle, 0 for the first.")
output = click.option("--output", type=FILE, required=True, help="File to write.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
