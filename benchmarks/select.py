"""Benchmark `select`: one pass of the agent over a pool of the size of COCO's training set."""

from time import perf_counter

import click
import numpy as np
import torch

from benchmarks.machine import Measurements, machine, peak_memory, show
from mgral.config import AgentConfig
from mgral.method.agent.network import build_agent
from mgral.selection.query import highest


@click.command("select")
@click.option("--images", type=click.IntRange(min=1), default=117266, help="Images in the pool.")
@click.option("--dimensions", type=click.IntRange(min=1), default=256, help="Dimensions of an embedding.")
@click.option("--budget", type=click.IntRange(min=1), default=2345, help="Images to choose.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(images: int, dimensions: int, budget: int, as_json: bool) -> None:
    """Select from random embeddings with an agent of default size: seconds and peak memory (MB)."""
    if budget > images:
        raise click.UsageError(f"--budget {budget} is above --images {images}")
    show(measure_selection(images, dimensions, budget) | machine(), as_json)


def measure_selection(images: int, dimensions: int, budget: int) -> Measurements:
    """Time the scoring of [images, dimensions] float32 and the choice of the best."""
    embeddings = np.random.default_rng(0).standard_normal((images, dimensions), dtype=np.float32)
    defaults = AgentConfig()
    agent = build_agent(embeddings, defaults.hidden, defaults.window, torch.Generator().manual_seed(0))
    start = perf_counter()
    chosen = highest(agent.score_pool(embeddings), budget)
    seconds = perf_counter() - start
    return {
        "images": images,
        "dimensions": dimensions,
        "chosen": len(chosen),
        "seconds": seconds,
        "peak_memory_mb": peak_memory(),
        "torch_threads": torch.get_num_threads(),
    }
