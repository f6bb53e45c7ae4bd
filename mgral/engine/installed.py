"""Where the files of the workflow are, and how a person runs it, in a clone and with an installed wheel alike."""

import os
import sys
from pathlib import Path

import mgral
from mgral.errors import InputError

FOLDER = Path(mgral.__file__).parent / "pipeline"
"""Links to the files in a clone, and in a wheel the files themselves."""


def snakefile() -> Path:
    """Return the Snakefile; the rules and profiles lie beside it, and params.yaml, the default experiment."""
    return (FOLDER / "Snakefile").resolve()


def own_profiles() -> list[str]:
    """Return the names of the profiles of Snakemake that this package has."""
    return sorted(path.name for path in (FOLDER / "profiles").iterdir())


def profile(name: str) -> Path:
    """Return the folder of a profile of Snakemake: default or slurm.

    Raises
    ------
    InputError
        For another name.
    """
    if name not in (known := own_profiles()):
        raise InputError(f"there is no profile {name}; choose one of {', '.join(known)}")
    return (FOLDER / "profiles" / name).resolve()


def in_clone() -> bool:
    """Return whether the code that runs is that of a clone, not of an installed wheel."""
    return (snakefile().parent / "pyproject.toml").is_file()


def program_in_results() -> str:
    """Return how a person calls this mgral, without paths of this machine, as results keep it.

    That is its name, which needs its environment to be active, or in a clone its path from the working directory.
    """
    clone, own_program = snakefile().parent, Path(sys.executable).with_name("mgral")
    inside = in_clone() and own_program.is_relative_to(clone) and Path.cwd().is_relative_to(clone)
    return os.path.relpath(own_program) if inside else "mgral"


SNAKEMAKE = ".venv/bin/snakemake" if in_clone() else "mgral snakemake"
"""How a person calls Snakemake in a clone, or elsewhere; without paths of this machine, as results keep it."""
