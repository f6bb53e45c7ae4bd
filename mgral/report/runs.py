"""What made the numbers of a results page: commands, commits, machines, seeds and costs, joined from several runs."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype
from pydantic import TypeAdapter, ValidationError

from mgral.artefacts.files import json_text, read_csv, read_json
from mgral.artefacts.integrity import RECORDS, file_hash
from mgral.config import Config, load_config
from mgral.data.derive import load_settings
from mgral.errors import InputError
from mgral.report.detectors import TABLE, DetectorScores, detectors_table, scores_of
from mgral.report.devices import devices_used
from mgral.report.timings import RUNS

SEED_FOLDER = re.compile(r"seed\d+")
RUNS_FILE = "runs.json"
"""File with the runs of a page, beside its scores."""
OF_A_RUN = ("seeds", "container", "data")
"""Sections that may differ between the runs of a page; the content of the data set must be the same."""


@dataclass(frozen=True)
class Run:
    """What made the numbers of some seeds."""

    seeds: tuple[int, ...]
    commands: tuple[str, ...]
    commits: Mapping[str, int]
    """Artefacts by the commit that made them."""
    machine: str
    settings: Mapping[str, str]
    """Hash of each section of the configuration, and of the data set as it was read."""
    jobs: int
    wall_s: float
    """Seconds of all jobs, one after the other."""
    core_s: float
    memory_mb: float
    """Peak memory of the largest job, in MB."""


@dataclass(frozen=True)
class JoinedRuns:
    """The scores of one experiment's detectors, and the runs that made them."""

    config: Config
    """Configuration of the newest run with the settings derived for its first seed, and the seeds of all runs."""
    detectors: DetectorScores
    runs: tuple[Run, ...]


def load_run(folder: Path) -> JoinedRuns:
    """Read a finished experiment; raises InputError where there is none, or its report lacks a seed."""
    record_path, commands_path = folder / RECORDS / "report.html.json", folder / "timings" / RUNS
    table_path = folder / "tables" / f"{TABLE}.csv"
    if not all(path.exists() for path in (record_path, commands_path, table_path)):
        raise InputError(f"{folder} contains no finished experiment run by Snakemake; run it to its report first")
    report_record = read_json(record_path)
    config = load_config(folder / "config.yaml")
    records = [read_json(path) for path in _records_of(folder / RECORDS, config)]
    detector_record = next((record for record in records if record["step"] == "detector"), report_record)
    scores = pd.read_csv(table_path)
    if lacking := sorted({*config.seeds} - {*scores["seed"]}):
        raise InputError(
            f"the report of {folder} lacks seed {', '.join(map(str, lacking))} of its config.yaml, as a later run "
            "did not end; finish that run, or run with the seeds of the report again"
        )
    costs = read_csv(folder / "timings" / "costs_by_step.csv")
    run = Run(
        seeds=config.seeds,
        commands=tuple(read_json(commands_path).values()),
        commits=dict(sorted(Counter(str(record["commit"]) for record in records).items())),
        machine=_machine(detector_record["machine"], report_record["packages"]["torch"], devices_used(folder)),
        settings=_settings(config, folder),
        jobs=sum(int(row["jobs"]) for row in costs),
        wall_s=sum(float(row["wall_s"]) for row in costs),
        core_s=sum(float(row["core_s"]) for row in costs),
        memory_mb=max(float(row["peak_memory_mb"]) for row in costs),
    )
    detectors = scores_of([scores], config)
    return JoinedRuns(load_settings(config, folder, config.seeds[0]), detectors, (run,))


def _records_of(folder: Path, config: Config) -> Iterator[Path]:
    """Yield the records of a run: not those of seeds that ran in the same folder before."""
    seeds = {f"seed{seed}" for seed in config.seeds}
    for path in folder.rglob("*.json"):
        top = path.relative_to(folder).parts[0]
        if top in seeds or not SEED_FOLDER.fullmatch(top):
            yield path


def add_runs(new: JoinedRuns, page_folder: Path) -> JoinedRuns:
    """Add the seeds of the runs on a page that was written before; their files are in `page_folder`.

    Raises
    ------
    InputError
        Where they are of other settings or another data set, or share a seed, or where the files beside the page are
        not as they were written.
    """
    page = page_folder.parent / f"{page_folder.name}.md"
    if not page.exists() and not (page_folder / RUNS_FILE).exists():
        return new
    runs = _read_runs(page_folder / RUNS_FILE)
    experiment = new.config.experiment
    for run in runs:
        differing = [name for name, value in new.runs[0].settings.items() if run.settings.get(name) != value]
        if differing:
            raise InputError(
                f"{experiment}: the seeds on its page are of other settings ({', '.join(differing)}); run both with "
                "the same, or leave out --add, which writes the page anew"
            )
        if shared := set(run.seeds).intersection(new.runs[0].seeds):
            raise InputError(
                f"{experiment}: seeds {', '.join(map(str, sorted(shared)))} are on its page already; run others, or "
                "leave out --add, which writes the page anew"
            )
    rows = detectors_table(new.detectors).rows
    earlier_rows = _read_rows(page_folder / f"{TABLE}.csv", rows, {seed for run in runs for seed in run.seeds})
    detectors = scores_of([earlier_rows, rows], new.config)
    config = new.config.model_copy(update={"seeds": detectors.config.seeds})
    return JoinedRuns(config, detectors, (*runs, *new.runs))


def files_of_runs(joined: JoinedRuns) -> dict[str, bytes]:
    """Return the files with scores and runs that lie beside a page, so that seeds can be added to it later."""
    runs = json_text([asdict(run) for run in joined.runs])
    return {f"{TABLE}.csv": detectors_table(joined.detectors).csv, RUNS_FILE: runs.encode()}


def _read_runs(path: Path) -> tuple[Run, ...]:
    """Read the runs beside a page; raise InputError unless the file is as `files_of_runs` made it."""
    try:
        runs = TypeAdapter(tuple[Run, ...]).validate_python(read_json(path))
    except (InputError, ValidationError):
        raise _damaged(path) from None
    if not runs:
        raise _damaged(path)
    return runs


def _read_rows(path: Path, new_rows: pd.DataFrame, seeds: Set[int]) -> pd.DataFrame:
    """Read the scores beside a page; raise InputError unless each seed has the detectors of a new run, `new_rows`."""
    try:
        rows = pd.read_csv(path)
    except (OSError, ValueError):
        raise _damaged(path) from None
    if set(rows.columns) != set(new_rows.columns):
        raise _damaged(path)
    seed_rows = new_rows[new_rows["seed"] == new_rows["seed"].iloc[0]]
    expected = Counter((detector, seed) for detector in _detectors(seed_rows) for seed in seeds)
    all_numeric = all(is_numeric_dtype(rows[name]) for name in rows.columns if name != "strategy")
    if not all_numeric or Counter(zip(_detectors(rows), rows["seed"], strict=True)) != expected:
        raise _damaged(path)
    return rows


def _detectors(rows: pd.DataFrame) -> list[tuple[str, float]]:
    """Return strategy and cycle of each row, -1 for the detector of all labels."""
    return list(zip(rows["strategy"], rows["cycle"].fillna(-1).astype(float), strict=True))


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path} is missing, or not as `mgral results` wrote it; restore it, or leave out --add, which writes the "
        "page anew"
    )


def _machine(machine: Mapping[str, str], torch: str, devices: str) -> str:
    """Return a machine in a line, from its record, torch's version and the devices that were used."""
    instructions, gpu = machine["vector_instructions"], devices or machine["gpu"]
    return f"{machine['system']}, {instructions}, GPU {gpu}, Python {machine['python']}, torch {torch}"


def _settings(config: Config, folder: Path) -> dict[str, str]:
    """Return `Run.settings`: a hash of each section, and of the data set in the experiment's folder."""
    sections = config.model_dump(mode="json", exclude=set(OF_A_RUN))
    files = [folder / "dataset" / f"{split}.json" for split in ("train", "test")]
    values = {**sections, "data": [file_hash(file) for file in files]}
    return {
        name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest() for name, value in values.items()
    }
