"""Where the files of the workflow are, and how a person runs it, in a clone and with an installed wheel alike."""

import shlex
import shutil
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


def program() -> str:
    """Return how a person calls this mgral in a shell: by its name, or by its path where the PATH has another."""
    own = Path(sys.executable).with_name("mgral")
    found = shutil.which("mgral")
    return "mgral" if found and Path(found).resolve() == own.resolve() else shlex.quote(str(own))


SNAKEMAKE = ".venv/bin/snakemake" if in_clone() else "mgral snakemake"
"""How a person calls Snakemake in a clone, or elsewhere; without paths of this machine, as results keep it."""
