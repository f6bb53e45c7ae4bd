"""The commit of the code that is running, for records of what made an artefact."""

import functools
import os
import subprocess
from importlib import metadata
from pathlib import Path

import mgral

VARIABLE = "MGRAL_COMMIT"
"""Environment variable with the commit: set by the Snakefile, once for all jobs, and in the container's image."""


@functools.cache
def commit() -> str:
    """Return MGRAL_COMMIT if it is set, else the commit of the code, with `-dirty` if tracked files were changed.

    For an installed wheel it is the commit that the wheel was built from, or the version if that is not known;
    repositories around the wheel do not count. For a clone in which Git fails it is "unknown".
    """
    if override := os.environ.get(VARIABLE):
        return override
    root = Path(mgral.__file__).parent.parent
    if not (root / ".git").exists():
        built_of = Path(__file__).with_name("commit.txt")  # see hatch_build.py
        if built_of.exists():
            return built_of.read_text("utf-8").strip()
        return f"none (version {metadata.version('mgral')})"
    # Without locks, of which one would stay in the repository where this process is killed.
    options = ["--no-optional-locks", "-C", str(root)]
    command = ["git", *options, "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        lines = subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    revision = next(line for line in lines if line.startswith("# branch.oid ")).split()[-1]
    return f"{revision}-dirty" if any(not line.startswith("#") for line in lines) else revision
