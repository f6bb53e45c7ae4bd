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
from mgral.lut.reward import Reward, RewardTable
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
@click.option("--table", "table_path", type=options.FILE, required=True, help="Look-up table.")
@click.option("--table-labelled", type=options.FILE, required=True, help="labelled.json that the table was made for.")
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
    table_path: Path,
    table_labelled: Path,
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
    ids = load_labelled(labelled)
    pool = unlabelled(load_dataset(dataset).image_ids, ids)
    check_pool(pool, config.budget)
    known = load_embeddings(embeddings)
    vectors = known.of(pool)
    table = RewardTable.load(table_path, config.reward)
    table.check_dimensions(vectors.shape[1], table_path)
    of_table = load_labelled(table_labelled) if config.reward.looked_up == "acquired" else ids
    reward = table.over(vectors, known.of(np.setdiff1d(ids, of_table)), device)
    inputs = [dataset, labelled, embeddings, table_path, table_labelled]
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
