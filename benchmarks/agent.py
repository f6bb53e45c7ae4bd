"""Benchmark `agent`: its training, and the lookups that teach it, at the size of COCO."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import click
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.machine import Measurements, machine, peak_memory, show
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.config import AgentConfig
from mgral.config.method import Policy
from mgral.engine.measure import random_reward
from mgral.method.agent.batch_training import train_batch_agent
from mgral.method.agent.episodes import uniform_batches
from mgral.method.agent.training import train_agent
from mgral.method.lut.by_distance import ByDistance, SubsetDistance
from mgral.method.lut.learned import LearnedReward
from mgral.method.lut.reward import AnyReward, MeanReward, RewardTable
from mgral.method.lut.wasserstein import SlicedDistance, draw_projections, project_and_sort
from mgral.selection.embeddings import ImageFeatures

LOOK_UPS = 5
"""Lookups of an episode's batches, of which the mean time counts."""


@click.command("agent")
@click.option("--images", type=click.IntRange(min=1), default=115000, help="Images in the pool.")
@click.option("--dimensions", type=click.IntRange(min=1), default=256, help="Dimensions of an embedding.")
@click.option(
    "--policy",
    type=click.Choice(["batch", "lstm"]),
    default="batch",
    help="The agent that sees its batch, or the paper's.",
)
@click.option(
    "--distance",
    type=click.Choice(["by_class", "sliced"]),
    default="by_class",
    help="How batches are looked up: by what they are made of (regression), or by their embeddings (kernel; lstm).",
)
@click.option("--classes", type=click.IntRange(min=1), default=80, help="Classes of objects, for by_class.")
@click.option("--budget", type=click.IntRange(min=1), default=2345, help="Images to choose, and in a subset.")
@click.option("--variants", type=click.IntRange(min=1), default=100, help="Variants in the lookup table.")
@click.option("--projections", type=click.IntRange(min=1), default=64, help="Projections, for sliced.")
@click.option("--episodes", type=click.IntRange(min=1), default=5, help="Steps of the agent that are timed.")
@options.gpus
@options.as_json
def command(
    images: int,
    dimensions: int,
    policy: Policy,
    distance: str,
    classes: int,
    budget: int,
    variants: int,
    projections: int,
    episodes: int,
    gpus: int,
    as_json: bool,
) -> None:
    """Train an agent of default size on random embeddings and a random table: its steps and lookups a second.

    A step contains all that an episode does: lookups, scores, loss, gradient. Memory in MB.
    """
    if budget > images:
        raise click.UsageError(f"--budget {budget} is above --images {images}")
    if policy == "batch" and distance == "sliced":
        raise click.UsageError("--distance sliced needs --policy lstm")
    config = AgentConfig(policy=policy, episodes=1 + episodes)
    device = choose_device(gpus)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((images, dimensions), dtype=np.float32)
    counts = rng.standard_exponential((images, classes), dtype=np.float32)
    subsets = uniform_batches(images, budget, variants, rng)
    reward: AnyReward = random_reward(counts, rng)
    if distance == "sliced":
        table = sliced_table(vectors[subsets], projections, rng)
        reward = MeanReward([table.over(ImageFeatures(vectors, counts), device=device.type)])
    measured: Measurements = {
        "images": images,
        "dimensions": dimensions,
        "distance": distance,
        "budget": budget,
        "policy": policy,
        "samples": config.samples,
        "variants": variants,
        **({"classes": classes} if distance == "by_class" else {"projections": projections}),
        **measure_look_ups(reward, images, budget, config.samples, rng),
        **measure_steps(vectors, reward, budget, config, device.type),
        "peak_memory_mb": peak_memory(),
        "torch_threads": torch.get_num_threads(),
        "device": device.type,
    }
    if device.type == "cuda":
        measured["device"] = torch.cuda.get_device_name()
        measured["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
    show(measured | machine(), as_json)


def sliced_table(subsets: npt.NDArray[np.float32], projections: int, rng: np.random.Generator) -> RewardTable:
    """Return a table of subsets, float32 [K, M, D], with random mAP, looked up by sliced distances."""
    variants, _, dimensions = subsets.shape
    directions = draw_projections(dimensions, projections, rng)
    distance = SubsetDistance(subsets, SlicedDistance(directions, project_and_sort(subsets, directions)), "sliced")
    estimate = ByDistance(distance, rng.random((variants, 1)), "kernel", np.ones(1))
    return RewardTable(subsets, None, None, estimate.values[:, 0], 0.0, estimate)


def measure_look_ups(
    reward: AnyReward, images: int, budget: int, samples: int, rng: np.random.Generator
) -> Measurements:
    """Time lookups of as many batches at a time as an episode draws."""
    batches = uniform_batches(images, budget, samples, rng)
    reward.lookup(batches)  # what a process does for the first time takes longer
    with _timed() as seconds:
        for _ in range(LOOK_UPS):
            reward.lookup(batches)
    return {"look_ups_a_second": LOOK_UPS * len(batches) / seconds[0]}


def measure_steps(
    vectors: npt.NDArray[np.float32], reward: AnyReward, budget: int, config: AgentConfig, device: str
) -> Measurements:
    """Time episodes of a training, less what comes before the first and the first itself.

    Before both that are compared there is another: a GPU's libraries take longer to begin than episodes there.
    """
    seconds = []
    for count in (1, 1, config.episodes):
        of_length = config.model_copy(update={"episodes": count})
        with _timed() as of_count:
            if config.policy == "lstm":
                train_agent(vectors, reward, of_length, budget, seed=0, cycle=0, device=device)
            else:
                assert isinstance(reward, LearnedReward)
                train_batch_agent(vectors, reward, of_length, budget, seed=0, cycle=0)
        seconds += of_count
    episodes = config.episodes - 1
    return {
        "episodes": episodes,
        "steps_a_second": episodes / (seconds[2] - seconds[1]),
        "first_step_seconds": seconds[0],
    }


@contextmanager
def _timed() -> Iterator[list[float]]:
    """Give a list that contains the seconds once the block is done."""
    seconds: list[float] = []
    start = perf_counter()
    yield seconds
    seconds.append(perf_counter() - start)
