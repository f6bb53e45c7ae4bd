"""Benchmark `select`: the agent's choice from a pool of the size of COCO's training set."""

from time import perf_counter

import click
import numpy as np
import torch

from benchmarks.machine import Measurements, machine, peak_memory, show
from mgral.config import AgentConfig
from mgral.engine.measure import random_reward
from mgral.method.agent.batch_agent import build_batch_agent, choose_batch


@click.command("select")
@click.option("--images", type=click.IntRange(min=1), default=117266, help="Images in the pool.")
@click.option("--dimensions", type=click.IntRange(min=1), default=256, help="Dimensions of an embedding.")
@click.option("--classes", type=click.IntRange(min=1), default=80, help="Classes of objects.")
@click.option("--budget", type=click.IntRange(min=1), default=2345, help="Images to choose.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(images: int, dimensions: int, classes: int, budget: int, as_json: bool) -> None:
    """Select from random embeddings with an agent of default size: seconds and peak memory (MB)."""
    if budget > images:
        raise click.UsageError(f"--budget {budget} is above --images {images}")
    show(measure_selection(images, dimensions, classes, budget) | machine(), as_json)


def measure_selection(images: int, dimensions: int, classes: int, budget: int) -> Measurements:
    """Time the choice from [images, dimensions] float32, image by image."""
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((images, dimensions), dtype=np.float32)
    reward = random_reward(rng.standard_exponential((images, classes), dtype=np.float32), rng)
    agent = build_batch_agent(embeddings, AgentConfig().hidden, torch.Generator().manual_seed(0))
    start = perf_counter()
    chosen = choose_batch(agent, reward, embeddings, budget, 0, 0)
    seconds = perf_counter() - start
    return {
        "images": images,
        "dimensions": dimensions,
        "classes": classes,
        "chosen": len(chosen.rows),
        "seconds": seconds,
        "peak_memory_mb": peak_memory(),
        "torch_threads": torch.get_num_threads(),
    }
