"""Installs plug-ins into a folder of the Python path."""

import subprocess
import sys
from pathlib import Path

from run_workflow import ROOT

PROJECT = ROOT / "examples" / "plugin_strategy"
"""A package that brings the strategy `brightness`."""


def install(folder: Path, name: str, code: str, group: str, entry: str) -> None:
    """Write what an installer would: the module `name`, and a folder with its metadata and one entry point."""
    (folder / f"{name}.py").write_text(code)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")


def install_project(folder: Path) -> None:
    """Install the project `PROJECT` by the installer that everything else is installed by."""
    options = ["--quiet", "--python", sys.executable, "--no-deps", "--no-build-isolation", "--offline"]
    command = [ROOT / ".uv" / "bin" / "uv", "pip", "install", *options, "--target", folder, PROJECT]
    subprocess.run([str(part) for part in command], check=True)
