"""Step `agent`: the agent, trained on looked-up rewards."""

from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from mgral.agent.network import Agent
from mgral.agent.training import Episode, train_agent, uniform_batches
from mgral.artefacts import derive_seed, write_arrays, write_csv, write_json
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.device import choose_device
from mgral.driver import HELP as DEVICE_HELP
from mgral.lut.reward import Reward, load_reward
from mgral.pool import check_pool, load_embeddings, load_labelled, unlabelled
from mgral.steps import options
from mgral.strategies.query import highest
from mgral.training.checkpoint import HELP, Checkpoint, job_identity
from mgral.workflow import depends_on

RANDOM_BATCHES = 200
"""Uniform batches that the final selection is compared with."""


@click.command("agent", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.dataset
@options.labelled
@options.embeddings
@click.option(
    "--table",
    "tables",
    type=options.FILE,
    required=True,
    multiple=True,
    help="Look-up table of a reward split; repeat it for each.",
)
@options.seed
@options.cycle
@options.gpus
@options.written("Agent to write.")
@click.option("--log-csv", type=options.FILE, required=True, help="CSV to write, a line an episode.")
@click.option("--summary", type=options.FILE, required=True, help="JSON file to write.")
def command(
    config_path: Path,
    dataset: Path,
    labelled: Path,
    embeddings: Path,
    tables: tuple[Path, ...],
    seed: int,
    cycle: int,
    gpus: int,
    output: Path,
    log_csv: Path,
    summary: Path,
) -> None:
    """Train the agent on looked-up rewards."""
    device = choose_device(gpus).type
    config = load_config(config_path)
    pool = unlabelled(load_dataset(dataset).image_ids, load_labelled(labelled))
    check_pool(pool, config.budget)
    vectors = load_embeddings(embeddings).of(pool)
    reward = load_reward(tables, vectors, config.reward, device)
    inputs = [dataset, labelled, embeddings, *tables]
    job = job_identity(depends_on(config, "agent"), inputs, "agent", seed, cycle, device)
    checkpoint = Checkpoint.beside(output, job)
    agent, log = train_agent(vectors, reward, config.agent, config.budget, seed, cycle, checkpoint, device)
    rng = np.random.default_rng(derive_seed(seed, "agent comparison", cycle))
    write_csv(log_csv, [episode._asdict() for episode in log], Episode._fields)
    write_json(summary, summarise(agent, log, vectors, reward, config.budget, rng))
    write_arrays(output, agent.arrays())
    checkpoint.remove()


def summarise(
    agent: Agent,
    log: list[Episode],
    vectors: npt.NDArray[np.float32],
    reward: Reward,
    budget: int,
    rng: np.random.Generator,
) -> dict[str, float | int | None]:
    """Compare the agent's selection from the pool, float32 [N, D], with uniform batches, all by looked-up mAP."""
    selected = float(reward.look_up(highest(agent.score_pool(vectors), budget)[None])[0])
    uniform = reward.look_up(uniform_batches(len(vectors), budget, RANDOM_BATCHES, rng))
    mean, deviation = float(uniform.mean()), float(uniform.std(ddof=1))
    return {
        "selected_reward": selected,
        "random_mean": mean,
        "random_std": deviation,
        "random_batches": RANDOM_BATCHES,
        "standard_deviations_above": (selected - mean) / deviation if deviation > 0 else None,
        "baseline_map": reward.baseline_map,
        "random_best_as_often": log[-1].random_best,
    }
