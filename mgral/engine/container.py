"""The container in which Snakemake runs the jobs: what it needs of the host, and what can be wrong with it."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mgral.config import Config, DataConfig, DetectorConfig, ProjectData
from mgral.config.data import FolderData
from mgral.data.formats.project import project_folder
from mgral.data.pictures import picture_folders
from mgral.engine.provenance import version
from mgral.errors import InputError
from mgral.models.detectors.external import ExternalConfig

ARITHMETIC = (
    "OPENBLAS_",
    "MKL_",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
)
"""Beginnings of environment variables that choose the processor's instructions, and with them the last bits."""


def container_environment(config: Config, files: Sequence[Path]) -> dict[str, str]:
    """Return environment variables with which Apptainer binds the data set and the files of settings, read-only.

    The working directory is bound anyway. Variables are used because `--singularity-args` belongs to the user. Those
    that choose the processor's instructions get a prefix, so that `--cleanenv` keeps them.
    """
    roots = picture_roots(config.data)
    roots += [Path(config.detector.settings_folder)] if config.detector.settings_folder else []
    paths = [Path(os.path.normpath(Path.cwd() / path)) for path in [*roots, *files]]
    binds = [f"{path}:{path}:ro" for path in paths if not path.is_relative_to(Path.cwd())]
    user_binds = os.environ.get("APPTAINER_BIND")
    # Threads are left out: Snakemake sets them for each job.
    variables = [name for name in os.environ if name.startswith(ARITHMETIC) and not name.endswith("_NUM_THREADS")]
    passed_on = {f"APPTAINERENV_{name}": os.environ[name] for name in variables}
    return {"APPTAINER_BIND": ",".join([user_binds, *binds] if user_binds else binds), **passed_on}


def picture_roots(data: DataConfig) -> list[Path]:
    """Return the folders that the pictures of a data set are in, or those of a project; of synthetic data none."""
    if isinstance(data, ProjectData):
        return list(picture_folders(project_folder(data)).values())
    return [Path(data.root)] if isinstance(data, FolderData) else []


def check_image(image: str | Path) -> None:
    """Raise InputError unless Apptainer can run the image, with the same version of mgral and of its steps.

    It must have the same plug-ins, and may have more. An image of another commit is used, with a line on standard
    error.
    """
    program = _apptainer_path()
    if program is None:
        raise InputError("--use-singularity needs Apptainer, which is not on the PATH; install it, or run without")
    if not Path(image).exists():
        raise InputError(
            f"container.image: there is no file {image}; build it (make image, in a clone), or correct the path, "
            "which starts at the working directory"
        )
    command = [program, "--silent", "exec", "--cleanenv", str(image), "mgral", "--version"]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip() or "no message").splitlines()[-1]
        raise InputError(f"container.image: {image} runs no mgral ({reason}); build it again: make image, in a clone")
    image_lines, expected = result.stdout.splitlines(), version().splitlines()
    commits = [line for lines in (image_lines, expected) for line in lines if line.startswith("commit ")]
    if lacking := [line for line in expected if line not in image_lines and line not in commits]:
        raise InputError(
            f"container.image: {image} lacks what is here: {'; '.join(lacking)}. It has: {'; '.join(image_lines)}. "
            "Build it again (make image, in a clone), or check out the code that it was built from"
        )
    if len(set(commits)) > 1:
        print(f"mgral: container.image: {image} is of {' and the code here of '.join(commits)}", file=sys.stderr)


def check_command(detector: DetectorConfig) -> None:
    """Raise InputError where `detector.container` needs Apptainer, or a file, that is not there."""
    image = detector.container if isinstance(detector, ExternalConfig) else None
    if image is None:
        return
    if _apptainer_path() is None:
        raise InputError(
            "detector.container needs Apptainer, which is not on the PATH; install it, or leave it out to run "
            "detector.command as it is"
        )
    if "://" not in image and not Path(image).exists():
        raise InputError(f"detector.container: there is no file {image}; correct the path, or give an address")


def shell_inside(image: str, roots: Sequence[Path], gpus: int) -> list[str]:
    """Return the command that runs a shell in an image, with the working directory and folders of pictures in it."""
    nvidia = ["--nv"] if gpus else []
    folders = [Path(os.path.normpath(Path.cwd() / root)) for root in roots]
    outside_folders = [folder for folder in folders if not folder.is_relative_to(Path.cwd())]
    bind = [word for folder in outside_folders for word in ("--bind", f"{folder}:{folder}:ro")]
    return [
        _apptainer_path() or "apptainer",
        "--silent",
        "exec",
        "--home",
        str(Path.cwd()),
        *nvidia,
        *bind,
        image,
        "sh",
    ]


def _apptainer_path() -> str | None:
    """Return the program Apptainer, or Singularity in its place; None without either."""
    return shutil.which("apptainer") or shutil.which("singularity")


def python_inside(image: str | Path, options: str) -> list[str]:
    """Return the command that runs Python in an image, as Snakemake runs a job there.

    Parameters
    ----------
    image
        File of the image.
    options
        Those of Snakemake's `--singularity-args`.
    """
    program = _apptainer_path() or "apptainer"
    return [program, "--silent", "exec", "--home", str(Path.cwd()), *shlex.split(options), str(image), "python"]
