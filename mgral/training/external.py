"""The detector of a cycle, trained and run by a command of the user's own: files in, files out."""

import fcntl
import hashlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import write_json
from mgral.artefacts.integrity import NOTES, READ, file_hash
from mgral.config.detector import Gift
from mgral.data.dataset import as_dataset
from mgral.data.findings import Findings
from mgral.data.results import found_arrays, join, read_features, read_found
from mgral.errors import StepError
from mgral.models.detectors.external import PLACEHOLDER

SHOWN_LINES = 10
"""Last lines of a failed command's output that an error repeats: as many as the terminal shows, as the cause
comes last."""
LOG, LOCK = "command.log", "lock"


def input_lists(
    train: Mapping[str, Any], test: Mapping[str, Any], labelled: npt.NDArray[np.int64], root: Path
) -> dict[str, dict[str, Any]]:
    """Return the COCO JSON that a command is given: `train`, `pool` and `test`; only that of `train` has boxes.

    Parameters
    ----------
    train, test
        COCO JSON of all training and of all test images, with file names relative to `root`.
    labelled
        Ids of the labelled images.
    """
    train_ids = set(labelled.tolist())
    images = {
        "train": [image for image in train["images"] if image["id"] in train_ids],
        "pool": [image for image in train["images"] if image["id"] not in train_ids],
        "test": test["images"],
    }
    boxes = {"train": [box for box in train["annotations"] if box["image_id"] in train_ids], "pool": [], "test": []}
    return {
        name: {
            "images": [
                {key: image[key] for key in ("id", "width", "height")}
                | {"file_name": str(root.absolute() / image["file_name"])}
                for image in listed
            ],
            "annotations": boxes[name],
            "categories": train["categories"],
        }
        for name, listed in images.items()
    }


def run_command(
    command: str,
    lists: Mapping[str, Mapping[str, Any]],
    folder: Path,
    *,
    seed: int,
    gpus: int = 0,
    scratch: str = "any",
    shell: Sequence[str] = ("sh",),
) -> Path:
    """Run a command and return the folder that it wrote its results to.

    Parameters
    ----------
    command
        Shell command with placeholders, see docs/external-detector.md.
    lists
        COCO JSON by name, see `input_lists`.
    folder
        Where the command's files lie: its log, the folder `output`, emptied before it starts, and until it has
        succeeded its inputs and the folder `scratch`, which outlives a kill.
    seed
        For the command's random numbers, from 0 to 2^31 - 1.
    scratch
        Name of the folder in `scratch`, see `scratch_name`; others are removed.
    shell
        Program that runs the command, with its options: here, or in a container.

    Raises
    ------
    StepError
        Where the command fails, with its exit code and its last lines, or an earlier one still runs in this folder.
    """
    inputs, output, log = folder / "inputs", folder / "output", folder / LOG
    scratch_folder = folder / "scratch" / scratch
    with _locked(folder) as lock:
        shutil.rmtree(output, ignore_errors=True)
        for old_folder in set(scratch_folder.parent.glob("*")) - {scratch_folder}:
            shutil.rmtree(old_folder)
        for name, coco in lists.items():
            write_json(inputs / f"{name}.json", coco)
        for new_folder in (output, scratch_folder):
            new_folder.mkdir(parents=True, exist_ok=True)
        paths = {name: inputs / f"{name}.json" for name in lists} | {"output": output, "scratch": scratch_folder}
        values = {name: str(path.absolute()) for name, path in paths.items()} | {"seed": str(seed), "gpus": str(gpus)}
        with log.open("wb") as file:
            arguments = [*shell, "-e", "-c", _fill_placeholders(command, values)]
            NOTES["command"] = shlex.join(arguments)
            completed = subprocess.run(
                arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, pass_fds=[lock], check=False
            )
    NOTES["exit_code"] = completed.returncode
    if completed.returncode:
        raise StepError(_failure_message(completed.returncode, log))
    return output


def scratch_name(settings: str, inputs: Sequence[Path], *values: int) -> str:
    """Return what tells a job from others: its settings as JSON, the content of its inputs, seed and cycle."""
    parts = [settings, [READ.get(path) or file_hash(path) for path in inputs], values]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_output(
    output: Path,
    train: Mapping[str, Any],
    test: Mapping[str, Any],
    labelled: npt.NDArray[np.int64],
    gives: Sequence[Gift],
) -> tuple[dict[str, npt.NDArray[Any]], Findings]:
    """Check what a command has written, and return it as arrays, with what was odd in it and is used.

    Raises
    ------
    FaultyDataError
        With all that is wrong with any of the files.
    """
    findings, train_dataset, test_dataset = Findings(), as_dataset(train), as_dataset(test)
    in_test = read_found(output / "test.json", test_dataset, test_dataset.image_ids, False, findings)
    in_train, features = None, None
    if "probabilities" in gives:
        lists = {"train.json": labelled, "pool.json": np.setdiff1d(train_dataset.image_ids, labelled)}
        parts = [
            read_found(output / name, train_dataset, ids, True, findings) for name, ids in lists.items() if len(ids)
        ]
        in_train = join(parts)
    if "features" in gives:
        features = read_features(output / "features.npz", train_dataset, findings)
    findings.raise_faults(f"what detector.command wrote to {output}", "")
    return found_arrays(in_test, in_train, features), findings


def clear_scratch(folder: Path) -> None:
    """Remove what a command that has succeeded needs no longer."""
    for name in ("inputs", "scratch"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _fill_placeholders(command: str, values: Mapping[str, str]) -> str:
    return re.sub(PLACEHOLDER, lambda placeholder: shlex.quote(values[placeholder[1]]), command)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Keep other commands out of a folder, also while one runs whose step was killed: it inherits the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StepError(f"{folder}: the command of an earlier run still runs there; wait, or end it") from None
        yield lock.fileno()


def _failure_message(code: int, log: Path) -> str:
    ending = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    lines = filter(str.strip, log.read_text(errors="replace").splitlines())
    shown = [f"  {line}" for line in list(lines)[-SHOWN_LINES:]]
    heading = "its last lines:" if shown else "it printed nothing."
    remedy = f"All of its output is in {log}; correct the command, or run again"
    return "\n".join([f"detector.command {ending}; {heading}", *shown, remedy])
