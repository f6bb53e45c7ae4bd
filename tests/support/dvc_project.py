"""A project in a folder of its own, and DVC and Git in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from run_workflow import ROOT

from mgral.cli.main import THREADS

DVC = (sys.executable, "-m", "dvc")


def make_project(folder: Path) -> None:
    """Make a folder with the workflow and the code in it and nothing else, as a repository of Git and of DVC."""
    for name in ("Snakefile", "workflow", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "mgral", folder / "mgral", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".gitignore").write_text("/results/\n/.cache/\n/.snakemake/\n__pycache__/\n")
    for arguments in (["git", "init", "--quiet"], [*DVC, "init", "--quiet", "--force"]):
        subprocess.run(arguments, check=True, cwd=folder)
    (folder / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text())


def dvc_environment(*, stub: bool) -> dict[str, str]:
    """Return variables with which DVC finds the real steps or the stub of them."""
    steps = Path(sys.executable).parent
    path = f"{ROOT / 'tests' / 'support' / 'stub'}:{steps}" if stub else str(steps)
    variables = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    for name in THREADS:  # which pytest is given, and a user's shell is not
        variables.pop(name, None)
    return variables


def dvc(*arguments: str, stub: bool = True) -> str:
    """Run DVC on the real steps or on the stub of them; output and messages come back as one text."""
    done = subprocess.run(
        [*DVC, *arguments], env=dvc_environment(stub=stub), text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def git(*arguments: str) -> None:
    """Run Git as nobody in particular."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)
