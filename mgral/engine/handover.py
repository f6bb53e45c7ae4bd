"""What one engine has made is made known to the other, which then does not make it again.

Both are asked about the settings in the experiment's config.yaml, which the last run of either brought up to date.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo

from mgral.config import Config, load_config
from mgral.engine.plan import read_table, run_snakemake, without_logs
from mgral.engine.provenance import vouched_for
from mgral.errors import InputError, StepError

CONFIG = "config"
"""The stage that makes config.yaml."""


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml."""

    command: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Mirror:
    """The dvc.yaml of an experiment."""

    configfile: Path
    resolved: Path
    """The experiment's config.yaml."""
    stages: Mapping[str, Stage]


def hand_over_to_dvc() -> int:
    """Let DVC record what Snakemake has made, as `dvc commit` does, and return the number of stages."""
    mirror = _read_mirror()
    if not mirror.resolved.exists():
        return 0
    with _repository() as repo:
        changed = repo.status()
        names = changed.keys() & set(_made_by_snakemake(mirror)) if changed else ()
        taken = [stage for stage in repo.index.stages if stage.name in names]
        # Not by `dvc commit STAGE...`, which reads and writes the whole dvc.lock for each stage.
        for stage in taken:
            stage.save()
            stage.commit(relink=False)
        if taken:
            taken[0].dvcfile.dump_stages(taken, update_pipeline=False)
    return len(taken)


def hand_over_to_snakemake() -> int:
    """Let Snakemake record what DVC has made, and return the number of stages.

    With no record of a file, Snakemake does not notice that a setting changes; with the one of a file that DVC has
    replaced, it goes by the settings of that.
    """
    mirror = _read_mirror()
    if not mirror.resolved.exists():
        return 0
    with _repository() as repo:
        known = list(_known_to_dvc(mirror.stages, repo.status()))
    recorded = _recorded_by_snakemake(mirror.resolved) if known else {}
    taken = [
        stage for stage in known if any(recorded.get(path, stage.command) != stage.command for path in stage.outputs)
    ]
    if taken:
        files = [path for stage in taken for path in stage.outputs]
        run_snakemake(mirror.resolved, "--touch", "--force", "--cores", "1", *files)
    return len(taken)


def _read_mirror() -> Mirror:
    try:
        entries = yaml.load(Path("dvc.yaml").read_text(), yaml.CSafeLoader)["stages"]
    except OSError as error:
        raise InputError(f"dvc.yaml: {error.strerror}; run in the project's folder, or write it: mgral dvc") from None
    (configfile,) = entries[CONFIG]["params"][0]
    (resolved,) = entries[CONFIG]["outs"]
    stages = {
        name: Stage(entry["cmd"], tuple(entry.get("deps", ())), (*_paths(entry["outs"]), *entry.get("metrics", ())))
        for name, entry in entries.items()
    }
    return Mirror(Path(configfile), Path(resolved), stages)


def _paths(outs: Iterable[str | Mapping[str, object]]) -> Iterator[str]:
    """Yield the paths of outputs, some of which have options."""
    return (path for out in outs for path in ([out] if isinstance(out, str) else out))


@contextmanager
def _repository() -> Iterator[Repo]:
    """Open DVC's side of the project, to be changed by nobody else meanwhile."""
    try:
        with Repo() as repo, lock_repo(repo):
            yield repo
    except DvcException as error:
        raise StepError(f"DVC: {error}") from None


def _made_by_snakemake(mirror: Mirror) -> Iterator[str]:
    """Name the stages whose outputs Snakemake made by the stage's own command and holds up to date."""
    config = load_config(mirror.resolved)
    recorded = _recorded_by_snakemake(mirror.resolved)
    for name, stage in mirror.stages.items():
        as_made = load_config(mirror.configfile) == config if name == CONFIG else _is_as_made(stage, config)
        if as_made and all(recorded.get(path) == stage.command for path in stage.outputs):
            yield name


def _is_as_made(stage: Stage, config: Config) -> bool:
    """Return whether the files are there, and the outputs what the step wrote, with these settings.

    Snakemake does not mind that a file is missing where all that follows from it is there, and remembers what it made
    itself, even where DVC or a person has put another file in its place.
    """
    there = all(Path(path).exists() for path in (*stage.inputs, *stage.outputs))
    named = [Path(path) for path in stage.outputs if path in stage.command.split()]
    return there and bool(named) and all(vouched_for(path, config) for path in named)


def _known_to_dvc(stages: Mapping[str, Stage], changed: Container[str]) -> Iterator[Stage]:
    """Return the stages that DVC holds up to date, with all that they follow from."""
    makers = {path: name for name, stage in stages.items() for path in stage.outputs}

    @cache
    def known(name: str) -> bool:
        return name not in changed and all(known(makers[path]) for path in stages[name].inputs if path in makers)

    return (stage for name, stage in stages.items() if name != CONFIG and known(name))


def _recorded_by_snakemake(resolved: Path) -> dict[str, str | None]:
    """Return, of every file of the workflow, the command that made it; None where it is missing or outdated."""
    rows = read_table(run_snakemake(resolved, "--detailed-summary"))
    return {
        row["output_file"]: without_logs(row["shellcmd"], row["log-file(s)"].split(","))
        if row["plan"] == "no update"
        else None
        for row in rows
    }
