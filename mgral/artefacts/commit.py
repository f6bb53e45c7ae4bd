"""The commit of the code that is running, for records of what made an artefact."""

import functools
import os
import subprocess
from pathlib import Path

import mgral

VARIABLE = "MGRAL_COMMIT"
"""Environment variable with the commit: set by the Snakefile, once for all jobs, and in the container's image."""


@functools.cache
def commit() -> str:
    """Return MGRAL_COMMIT, else the commit of the code with `-dirty` where it was changed since, or "unknown"."""
    if given := os.environ.get(VARIABLE):
        return given
    root = Path(mgral.__file__).parent.parent
    if not (root / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
