"""Command `project replay`."""

from contextlib import chdir
from pathlib import Path

import click

from mgral.cli.project import options
from mgral.labelling.experiments.replaying import CYCLES, SEEDS, Options, Replay, prepare_replay, run_replay


@click.command("replay")
@options.folder
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    metavar="NAME",
    help="Strategies to compare with random; may be repeated.  [default: the project's, entropy_sum and sqrt_counts]",
)
@click.option("--seeds", type=click.IntRange(1, 100), default=SEEDS, show_default=True, help="Number of repetitions.")
@click.option(
    "--cycles",
    type=click.IntRange(1, 100),
    default=CYCLES,
    show_default=True,
    help="Number of batches that each strategy chooses.",
)
@click.option("--estimate", is_flag=True, help="Only estimate the cost.")
@options.cores
@options.profile
@options.cpu
@options.snakemake_options
def command(
    folder: Path,
    strategies: tuple[str, ...],
    seeds: int,
    cycles: int,
    estimate: bool,
    cores: str | None,
    profile: Path | None,
    snakemake_options: tuple[str, ...],
) -> None:
    """Test whether the strategies are better than random on the labelled pictures. Use --estimate first.

    It hides the labels, lets each strategy choose again among these pictures, and trains many detectors. It is a
    separate experiment in replayN/ and results/replayN/, and does not change the project. If it is interrupted, the
    same command continues.
    """
    replay = prepare_replay(folder, Options(strategies, seeds, cycles))
    if estimate:
        _estimate(replay)
        return
    click.echo("\n".join(run_replay(replay, cores=cores, profile=profile, snakemake_options=snakemake_options)))


def _estimate(replay: Replay) -> None:
    """Print what `mgral estimate` says of a replay, by the times of the latest round of the same detector."""
    from mgral.cli.tools import estimate
    from mgral.config import load_config
    from mgral.errors import InputError

    with chdir(replay.folder):  # as paths of the configuration start there
        measured: tuple[Path, ...] = ()
        for round_folder in latest_first(Path("results")):
            try:
                estimate.load_speeds([round_folder], load_config(replay.configfile), {})
            except InputError:  # of another detector, or not finished
                continue
            measured = (round_folder,)
            break
        command = estimate.command.callback
        assert command is not None
        command((replay.configfile,), None, measured, False, None, 0, False)


def latest_first(results: Path) -> list[Path]:
    """Return the folders of rounds in a folder of results, the latest round first."""
    numbers = {path: path.name.removeprefix("round") for path in results.glob("round*")}
    rounds = [path for path, number in numbers.items() if number.isdigit()]
    return sorted(rounds, key=lambda path: int(numbers[path]), reverse=True)
