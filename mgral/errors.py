"""The ways in which a step fails, the exit code of each, and how a message names the command that helps."""

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "MGRAL_PROGRAM"
"""Environment variable with what a person calls, for jobs: they have the environment's programs on their PATH."""


def program(folder: Path = Path()) -> str:
    """Return what a person types in a shell in a folder to call this mgral, so that messages can be copied.

    Its name where the PATH has it, else the shorter of its paths: the absolute one, or that from the folder.
    """
    if PROGRAM in os.environ:
        return os.environ[PROGRAM]
    own = Path(sys.executable).with_name("mgral")
    found = shutil.which("mgral")
    if found and Path(found).resolve() == own.resolve():
        return "mgral"
    return shlex.quote(min(os.path.relpath(own, folder.resolve()), str(own), key=len))


def number_of(count: int, one: str, several: str = "") -> str:
    """Return a count with its words, such as `1 picture` and `2 pictures`; the plural has an `s` unless given."""
    return f"{count} {one if count == 1 else several or f'{one}s'}"


class InputError(Exception):
    """What the user gave cannot be used: exit code 2, nothing written.

    The message names the file or the key, and ends in what to do.
    """


class StepError(Exception):
    """The step itself failed on usable input, such as a loss that is not finite: exit code 1."""


class SparseError(StepError):
    """There is too little data to make something; the message says what is missing.

    On the way to a choice of images that is no failure: a step writes the reason in the place of what it cannot make,
    reading that raises the error again, and in the end the images are chosen at random.
    """
