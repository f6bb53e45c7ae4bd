"""Runs Snakemake on the workflow of this package, in any folder."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mgral.compute.gpus import only_cpu
from mgral.engine.installed import own_profiles, snakefile
from mgral.engine.installed import profile as own_profile
from mgral.errors import InputError, StepError, program

LOCK = Path(".snakemake", "mgral.lock")


def run_snakemake(
    folder: Path,
    configfile: Path,
    *,
    cores: str | None = "all",
    profile: Path | None = None,
    options: Sequence[str] = (),
) -> None:
    """Run an experiment to its end; the command that does the same is printed to standard error.

    Parameters
    ----------
    folder
        Working directory of Snakemake, in which `results/` is.
    configfile
        The experiment; a relative path starts at `folder`.
    cores
        Of this machine, for Snakemake's `--cores`; None where a profile says how many jobs run.
    profile
        Of the machine, beside the default one: a path, or the name of one of this package or of the user's own.
    options
        More words for Snakemake, targets too.

    Raises
    ------
    InputError
        Where Snakemake refuses what it is given (exit code 2); it has said why.
    StepError
        Where a job failed, or the run was stopped; the console has said how it goes on.
    """
    words = ["--cores", cores] if cores else []
    # A relative path starts where the person is, not at the folder.
    words += ["--profile", str(profile.resolve() if profile.exists() else profile)] if profile else []
    words += [*options, "--configfile", str(configfile)]
    print(snakemake_line(words, folder), file=sys.stderr, flush=True)
    code = call_snakemake(words, folder)
    if code == 2:
        raise InputError("Snakemake did not start; the reason is above: correct it, and give the same command again")
    if code < 0:
        raise StepError(f"Snakemake was killed ({signal.Signals(-code).name}); the same command continues")
    if code:
        raise StepError("Snakemake has not done all; the reason is above, and the same command continues")


def snakemake_line(words: Sequence[str], folder: Path) -> str:
    """Return what a person types in a shell to call Snakemake with these words in a folder."""
    command = f"{program(folder)} snakemake {shlex.join(words)}{' --cpu' * only_cpu()}"
    return command if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && {command}"


def call_snakemake(words: Sequence[str], folder: Path = Path()) -> int:
    """Call Snakemake with the workflow and the default profile of this package, and return its exit code.

    `--profile slurm` is that of this package, unless there is a folder `slurm` where Snakemake looks for profiles.
    It shares this process's terminal, and so gets Ctrl-C by itself, while this process waits; SIGTERM is passed on.

    Raises
    ------
    InputError
        Where the folder cannot be written.
    StepError
        Where Snakemake runs in the folder already.
    """
    files = ["--snakefile", str(snakefile()), "--workflow-profile", str(own_profile("default"))]
    with _folder_lock(folder) as lock:
        lock_files = [] if lock is None else [lock]
        # With -P no file of the folder is taken for a module of Python's, such as a random.py.
        command = [sys.executable, "-P", "-m", "snakemake", *files, *(["--nolock"] if lock_files else [])]
        command += _with_own_profiles(words, folder)
        with _passing_signals_on() as pass_on, subprocess.Popen(command, cwd=folder, pass_fds=lock_files) as process:
            pass_on(process)
            return process.wait()


def _with_own_profiles(words: Sequence[str], folder: Path) -> list[str]:
    """Return the words with the folder of a profile of this package in the place of its name."""
    changed = list(words)
    for index, word in enumerate(words):
        previous = words[index - 1] if index else ""
        option, name = ("--profile=", word[10:]) if word.startswith("--profile=") else ("", word)
        if (option or previous == "--profile") and name in own_profiles() and not _is_known(name, folder):
            changed[index] = f"{option}{own_profile(name)}"
    return changed


def _is_known(name: str, folder: Path) -> bool:
    """Return whether Snakemake itself finds a profile of this name."""
    from snakemake.common import get_appdirs  # takes a third of a second

    app_folders = get_appdirs()
    return any(
        (parent / name).exists()
        for parent in (folder, Path(app_folders.user_config_dir), Path(app_folders.site_config_dir))
    )


@contextmanager
def _folder_lock(folder: Path) -> Iterator[int | None]:
    """Hold a lock on a folder, which a Snakemake with the same file open holds on after the end of this process.

    It takes the place of Snakemake's own lock, which stays where Snakemake is killed, and then refuses the next run.
    Yields the open file, or None on a file system without locks.
    """
    path = folder / LOCK
    try:
        path.parent.mkdir(exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); work in a folder that you can write to"
        ) from None
    try:
        held: int | None = lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StepError(f"Snakemake runs in {folder.resolve()} already; wait for its end, or stop it") from None
        except OSError:
            held = None
        yield held
    finally:
        os.close(lock)


@contextmanager
def _passing_signals_on() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Leave SIGINT to another process, and pass SIGTERM on to the one that is given to what this yields."""
    processes: list[subprocess.Popen[bytes]] = []
    asked = False

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal asked
        asked = asked or number == signal.SIGTERM
        for process in processes if number == signal.SIGTERM else []:
            process.send_signal(number)

    def pass_on(process: subprocess.Popen[bytes]) -> None:
        processes.append(process)
        if asked:  # while the process was made
            process.send_signal(signal.SIGTERM)

    old_handlers = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pass_on
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
