"""One engine, Snakemake or DVC, for all results of a working tree: each knows only what it has made itself.

The file .engine in each experiment's folder names the engine. To DVC it is an output of the stage `config`, which
comes before all others: where Snakemake has written the file, DVC runs that stage, and the step refuses.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from mgral.artefacts.files import write_bytes
from mgral.errors import InputError

MARK = ".engine"
DVC = "DVC"
SNAKEMAKE = "Snakemake"
PLAN_ONLY = "MGRAL_PLAN_ONLY"
"""Environment variable of a Snakemake that plans the jobs of `mgral dvc` and `estimate`, whoever made the results."""


def started_by_dvc() -> bool:
    """Return whether DVC runs this process, by the variable that it sets for its stages."""
    return "DVC_ROOT" in os.environ


def claim(folder: Path, engine: str) -> None:
    """Write that an engine makes the results in a folder; raises InputError where `check_engine` does."""
    check_engine(folder.parent, engine)
    if not (folder / MARK).exists():
        write_bytes(folder / MARK, f"{engine}\n".encode())


def check_engine(results: Path, engine: str) -> None:
    """Raise InputError where the other engine makes the results of an experiment in the folder `results`."""
    for mark in sorted(results.glob(f"*/{MARK}")):
        try:
            owner = mark.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            owner = ""
        if owner not in (SNAKEMAKE, DVC):
            raise InputError(f"{mark} does not say which engine made the results; delete it, or {mark.parent}")
        if owner != engine:
            raise InputError(
                f"{mark.parent} was made by {owner}, of which {engine} knows nothing; run {engine} in a folder "
                f"of its own, or delete {mark.parent}. Nothing was changed"
            )


def check_stage(paths: Iterable[Path]) -> None:
    """Raise InputError where DVC runs a step on files beside those that Snakemake makes."""
    if started_by_dvc():
        for folder in {parent for path in paths for parent in path.parents if (parent / MARK).exists()}:
            check_engine(folder.parent, DVC)
