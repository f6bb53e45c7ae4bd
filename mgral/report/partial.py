"""What of an experiment is complete, when a part of it failed: complete strategies, of complete seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mgral.artefacts import integrity
from mgral.config import Config
from mgral.engine.verification import up_to_date
from mgral.errors import InputError, StepError
from mgral.report.results import Results, load_results


@dataclass(frozen=True)
class Missing:
    """What a partial report lacks."""

    seeds: Mapping[int, str]
    """Seeds left out for all strategies, and what is missing of them."""
    strategies: Mapping[str, str]
    """Strategies left out, and what is missing of each."""
    messages: Mapping[str, str]
    """The logs of failed jobs, and their last lines."""


def load_complete(folder: Path, config: Config, logs: tuple[Path, ...] = ()) -> tuple[Results, Missing]:
    """Read the strategies whose results are complete, and name the others.

    A seed whose initial or full-data detector is missing is left out for all strategies. A file that was made of
    other settings, or of files that were replaced since, is as good as missing.

    Parameters
    ----------
    folder
        The experiment's results.
    logs
        Of failed jobs.

    Raises
    ------
    StepError
        Where no strategy is complete.
    """
    missing_by_seed = {seed: _missing(folder, config, (seed,), ()) for seed in config.seeds}
    complete_seeds = tuple(seed for seed, missing in missing_by_seed.items() if not missing)
    missing_by_strategy = {
        name: _missing(folder, config, complete_seeds, (name,)) for name in config.strategies if complete_seeds
    }
    complete_strategies = tuple(name for name, missing in missing_by_strategy.items() if not missing)
    if not complete_strategies:
        raise StepError("no strategy is complete yet, so there is nothing to report; run the experiment again")
    left_out = Missing(
        {seed: missing for seed, missing in missing_by_seed.items() if missing},
        {name: missing for name, missing in missing_by_strategy.items() if missing},
        {log.as_posix(): _last_line(log) for log in logs},
    )
    return load_results(folder, _part(config, complete_seeds, complete_strategies)), left_out


def _part(config: Config, seeds: tuple[int, ...], strategies: tuple[str, ...]) -> Config:
    kept_strategies = {name: settings for name, settings in config.strategies.items() if name in strategies}
    return config.model_copy(update={"seeds": seeds, "strategies": kept_strategies})


def _missing(folder: Path, config: Config, seeds: tuple[int, ...], names: tuple[str, ...]) -> str:
    """Return what is missing of some seeds and strategies, or an empty text."""
    integrity.READ.clear()
    try:
        load_results(folder, _part(config, seeds, names))
        outdated = next((path for path in sorted(integrity.READ) if not up_to_date(path, config)), None)
    except InputError as error:
        return str(error)
    return f"{outdated} is of other settings or inputs; it was not made again" if outdated else ""


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")
