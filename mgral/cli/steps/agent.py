"""Step `agent`: the agent, trained on looked-up rewards."""

from pathlib import Path

import click

from mgral.artefacts.files import REASON, write_arrays, write_csv, write_json, write_reason
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.engine.workflow import depends_on
from mgral.errors import SparseError
from mgral.method.agent.episodes import Episode
from mgral.method.agent.validated import train_validated_agent
from mgral.method.lut.reward import load_tables
from mgral.selection.embeddings import load_embeddings
from mgral.selection.object_counts import count_again
from mgral.selection.pool import load_labelled, unlabelled
from mgral.selection.spending import in_images, load_unspent
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
@options.vram_mb
@options.output_option("Agent to write.")
@click.option("--log-csv", type=options.FILE, required=True, help="CSV to write, a row for each episode.")
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
    """Train the agent on looked-up rewards.

    If tables are looked up by distances and agree no better than tables with shuffled values, `select` draws at
    random. If a table could not be made, the reason is written in place of the agent, and `select` draws at random
    too. Agents that see their batch are trained on the CPU.
    """
    device = choose_device(gpus).type
    config = load_config(config_path).for_strategy(strategy)
    data, labelled_ids = load_dataset(dataset), load_labelled(labelled)
    config = in_images(config, data, labelled_ids, load_unspent(labelled))
    try:
        table = load_tables(tables, count_again(load_embeddings(embeddings), data, labelled_ids, seed), config)
    except SparseError as reason:
        write_csv(log_csv, (), Episode._fields)
        write_json(summary, {REASON: str(reason)})
        write_reason(output, str(reason))
        return
    inputs = [dataset, labelled, embeddings, *tables]
    job = job_identity(depends_on(config, "agent"), inputs, "agent", seed, cycle, device)
    checkpoint = Checkpoint.beside(output, job)
    pool = unlabelled(data.image_ids, labelled_ids)
    agent, log, content = train_validated_agent(config, table, pool, seed, cycle, gpus=gpus, checkpoint=checkpoint)
    write_csv(log_csv, [episode._asdict() for episode in log], Episode._fields)
    write_json(summary, content)
    write_arrays(output, agent.arrays())
    checkpoint.remove()
