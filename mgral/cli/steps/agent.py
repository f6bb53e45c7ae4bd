"""Step `agent`: the agent, trained on looked-up rewards."""

from pathlib import Path

import click
import numpy as np

from mgral.artefacts.files import write_arrays, write_csv, write_json
from mgral.artefacts.seeds import derive_seed
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.engine.workflow import depends_on
from mgral.method.agent.cross_validation import RANDOM_BATCHES, Comparison, compare_with_random, held_out_gain
from mgral.method.agent.training import Episode, train_agent
from mgral.method.lut.reward import load_reward
from mgral.selection.embeddings import load_embeddings
from mgral.selection.pool import check_pool, load_labelled, unlabelled
from mgral.training.checkpoint import HELP, Checkpoint, job_identity


@click.command("agent", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.strategy
@options.dataset
@options.labelled
@options.embeddings
@click.option(
    "--table",
    "tables",
    type=options.FILE,
    required=True,
    multiple=True,
    help="Lookup table of a reward split; repeat it for each.",
)
@options.seed
@options.cycle
@options.gpus
@options.written("Agent to write.")
@click.option("--log-csv", type=options.FILE, required=True, help="CSV to write, a line an episode.")
@click.option("--summary", type=options.FILE, required=True, help="JSON file to write.")
def command(
    config_path: Path,
    strategy: str,
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
    """Train the agent on looked-up rewards, and see whether these agree.

    Of several tables, each is also held against an agent that was trained on the others. Where such agents are no
    better than random batches, the tables contradict each other, and `select` chooses at random.
    """
    device = choose_device(gpus).type
    config = load_config(config_path).for_strategy(strategy)
    pool = unlabelled(load_dataset(dataset).image_ids, load_labelled(labelled))
    check_pool(pool, config.budget)
    features = load_embeddings(embeddings).features_of(pool, config.embedding)
    vectors, reward = features.vectors, load_reward(tables, features, config.reward, device)
    inputs = [dataset, labelled, embeddings, *tables]

    def checkpoint_of(what: str, path: Path) -> Checkpoint:
        return Checkpoint.beside(path, job_identity(depends_on(config, "agent"), inputs, what, seed, cycle, device))

    checkpoints = [checkpoint_of("agent", output)]
    agent, log = train_agent(vectors, reward, config.agent, config.budget, seed, cycle, checkpoints[0], device)
    gain = None
    if len(tables) > 1:
        names = [f"{output.name}.without{index}" for index in range(len(tables))]
        checkpoints += [checkpoint_of(name, output.with_name(name)) for name in names]
        gain = held_out_gain(
            vectors, reward.rewards, config.agent, config.budget, seed, cycle, checkpoints[1:], device
        )
        agent.validated.fill_(gain > 0)
    rng = np.random.default_rng(derive_seed(seed, "agent comparison", cycle))
    compared = compare_with_random(agent, vectors, reward, config.budget, rng)
    write_csv(log_csv, [episode._asdict() for episode in log], Episode._fields)
    write_json(summary, summarise(compared, log, reward.baseline_map, gain))
    write_arrays(output, agent.arrays())
    for checkpoint in checkpoints:
        checkpoint.remove()


def summarise(
    compared: Comparison, log: list[Episode], baseline_map: float, held_out: float | None
) -> dict[str, float | int | None]:
    """Return the content of `agent.json`."""
    selected, mean, deviation = compared
    return {
        "selected_reward": selected,
        "random_mean": mean,
        "random_std": deviation,
        "random_batches": RANDOM_BATCHES,
        "standard_deviations_above": (selected - mean) / deviation if deviation > 0 else None,
        "held_out_gain": held_out,
        "baseline_map": baseline_map,
        "random_best_as_often": log[-1].random_best,
    }
