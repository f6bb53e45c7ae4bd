"""How Snakemake is called in a folder, in whose place a script stands that notes what it was given."""

import fcntl
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_workflow import ROOT, TINY

from mgral.cli.main import mgral
from mgral.cli.project import check, control, next, replay, train
from mgral.engine.run import LOCK, call_snakemake, run_snakemake
from mgral.errors import InputError, StepError

OWN = ["--snakefile", str(ROOT / "Snakefile"), "--workflow-profile", str(ROOT / "workflow" / "profiles" / "default")]
OTHER_PROCESS = """
import sys
from pathlib import Path
from mgral.engine.run import call_snakemake
sys.executable = sys.argv[1]
sys.exit(call_snakemake([]))
"""
"""Calls the script from a process that a test can end."""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Let a shell script run in the place of Snakemake; the function takes its last lines."""
    path = tmp_path / "bin" / "python"
    path.parent.mkdir()

    def write(lines: str) -> Path:
        noted = f'pwd > "{tmp_path}/folder"\nprintf "%s\\n" "$@" > "{tmp_path}/words"\n'
        path.write_text(f"#!/bin/sh\n{noted}{lines}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return path

    monkeypatch.setenv("MGRAL_DEVICE", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.chdir(tmp_path)
    return write


def given(tmp_path: Path) -> list[str]:
    """Return the words behind those that choose the workflow."""
    words = (tmp_path / "words").read_text().splitlines()
    start = ["-P", "-m", "snakemake", *OWN, "--nolock"]
    assert words[: len(start)] == start
    return words[len(start) :]


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} is not there"
        time.sleep(0.02)


def test_the_command_that_is_printed_is_the_one_that_runs(tmp_path, script, capfd):
    script("")
    folder = tmp_path / "a project"
    folder.mkdir()
    run_snakemake(folder, Path("round1/config.yaml"), cores="2", options=["--config", "agent={episodes: 3}"])
    place, command = capfd.readouterr().err.strip().split(" && ")
    assert shlex.split(place) == ["cd", str(folder)]
    assert shlex.split(command) == ["mgral", "snakemake", *given(tmp_path)]
    assert given(tmp_path)[:2] == ["--cores", "2"]
    # Behind --configfile every word would be taken for a configuration.
    assert given(tmp_path)[-2:] == ["--configfile", "round1/config.yaml"]
    assert (tmp_path / "folder").read_text() == f"{folder}\n"


def test_cpu_is_one_word_that_keeps_every_job_there(tmp_path, script, capfd):
    script(f'echo "$MGRAL_DEVICE" > {tmp_path}/device')
    with pytest.raises(SystemExit):
        mgral(["snakemake", "--cores", "1", "--cpu", "all"])
    assert given(tmp_path) == ["--cores", "1", "all"]
    assert (tmp_path / "device").read_text() == "cpu\n"
    for module in (check, control, next, replay, train):
        assert "cpu" in {option.name for option in module.command.params}
    run_snakemake(tmp_path, Path("mine.yaml"))
    assert capfd.readouterr().err == "mgral snakemake --cores all --configfile mine.yaml --cpu\n"


def test_in_the_working_directory_no_other_is_named(tmp_path, script, capfd):
    script("")
    run_snakemake(tmp_path, Path("mine.yaml"))
    assert capfd.readouterr().err == "mgral snakemake --cores all --configfile mine.yaml\n"


@pytest.mark.parametrize(
    ("ending", "error", "message"),
    [
        ("exit 2", InputError, "did not start; the reason is above"),
        ("exit 1", StepError, "has not done all; .* the same command continues"),
        ("kill -KILL $$", StepError, r"was killed \(SIGKILL\); the same command continues"),
    ],
)
def test_what_went_wrong_decides_the_exit_code(tmp_path, script, ending, error, message):
    script(ending)
    with pytest.raises(error, match=message):
        run_snakemake(tmp_path, Path("mine.yaml"))
    script("exit 0")
    run_snakemake(tmp_path, Path("mine.yaml"))


def test_one_snakemake_in_a_folder(tmp_path, script):
    script("")
    assert call_snakemake([], tmp_path) == 0
    with (tmp_path / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StepError, match=f"Snakemake runs in {tmp_path} already"):
            call_snakemake([], tmp_path)
    assert call_snakemake([], tmp_path) == 0


def test_snakemake_holds_its_folder_when_the_command_that_called_it_is_gone(tmp_path, script):
    python = sys.executable
    stand_in = script("touch started; while [ ! -e end ]; do sleep 0.02; done; touch ended")
    caller = subprocess.Popen([python, "-c", OTHER_PROCESS, str(stand_in)])
    wait_for(tmp_path / "started")
    caller.kill()
    caller.wait()
    script("")
    try:
        with pytest.raises(StepError, match="already"):
            call_snakemake([], tmp_path)
    finally:
        (tmp_path / "end").touch()
    wait_for(tmp_path / "ended")
    end = time.monotonic() + 60
    while True:  # it has written its last file, and is about to end
        try:
            assert call_snakemake([], tmp_path) == 0
            break
        except StepError:
            assert time.monotonic() < end


def test_a_request_to_end_reaches_snakemake_which_is_waited_for(tmp_path, script):
    python = sys.executable
    stand_in = script('trap "touch ended; exit 7" TERM; touch started; while :; do sleep 0.02; done')
    caller = subprocess.Popen([python, "-c", OTHER_PROCESS, str(stand_in)])
    wait_for(tmp_path / "started")
    caller.terminate()
    assert caller.wait(timeout=60) == 7
    assert (tmp_path / "ended").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, script):
    script("")
    (tmp_path / LOCK.parent).touch()
    with pytest.raises(InputError, match=r"cannot be written .*; work in a folder that you can write to"):
        call_snakemake([], tmp_path)


@pytest.mark.parametrize("option", [["--profile", "{}"], ["--profile={}"]])
def test_a_profile_of_the_package_has_a_name(tmp_path, script, option):
    script("")
    named = [word.format("slurm") for word in option]
    call_snakemake(["slurm", *named], tmp_path)
    own = [word.format(ROOT / "workflow" / "profiles" / "slurm") for word in option]
    assert given(tmp_path) == ["slurm", *own]  # the first one is a target
    call_snakemake(other := [word.format("mycluster") for word in option], tmp_path)
    assert given(tmp_path) == other


@pytest.mark.parametrize("place", ["", "settings/snakemake"])
def test_a_profile_of_ones_own_comes_before_it(tmp_path, script, place):
    script("")
    (tmp_path / place / "slurm").mkdir(parents=True)
    call_snakemake(["--profile", "slurm"], tmp_path)
    assert given(tmp_path) == ["--profile", "slurm"]


def test_the_path_of_a_profile_starts_where_the_person_is(tmp_path, script):
    script("")
    for folder in ("project", "mycluster"):
        (tmp_path / folder).mkdir()
    run_snakemake(tmp_path / "project", Path("mine.yaml"), cores=None, profile=Path("mycluster"))
    assert given(tmp_path) == ["--profile", str(tmp_path / "mycluster"), "--configfile", "mine.yaml"]
    run_snakemake(tmp_path / "project", Path("mine.yaml"), cores=None, profile=Path("slurm"))
    assert given(tmp_path)[1] == str(ROOT / "workflow" / "profiles" / "slurm")


def test_snakemake_itself_plans_in_an_empty_folder(tmp_path):
    command = [
        sys.executable,
        "-m",
        "mgral",
        "snakemake",
        "--dry-run",
        "--profile",
        "slurm",
        "--configfile",
        str(TINY),
    ]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "  1  report " in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [".snakemake"]
