"""Steps that a job server forks behave as steps that start by themselves."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgral.artefacts.files import write_bytes
from mgral.cli import server
from mgral.config import config_yaml, resolve_config
from mgral.engine.job_server import ADDRESS, job_server

MGRAL = str(Path(sys.executable).with_name("mgral"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[Path]:
    with job_server(Path("jobs.socket")):
        yield folder


def mgral(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MGRAL, *arguments], text=True, capture_output=True, check=False, env={**os.environ, **environment}
    )


def start_long_step(folder: Path) -> subprocess.Popen[str]:
    """Start a step that draws images for minutes, and wait until it does."""
    values = {"experiment": "long", "data": {"format": "synthetic", "train_images": 100_000}}
    write_bytes(folder / "results" / "config.yaml", config_yaml(resolve_config(values)))
    command = [MGRAL, "synthesize", "--config", "results/config.yaml", "--output", "results/images"]
    process = subprocess.Popen(command, text=True, stderr=subprocess.PIPE)
    while not forked(folder):
        time.sleep(0.05)
    return process


def forked(folder: Path) -> list[int]:
    """Return the processes of the server that work in the folder, the server itself left out."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            here = (place / "cwd").readlink() == folder
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if here and b"mgral.cli.server" in words and parent != os.getpid():
            found.append(int(place.name))
    return found


def wait_until_none(folder: Path) -> None:
    until = time.monotonic() + 20
    while forked(folder):
        assert time.monotonic() < until, "a step outlives the process that asked for it"
        time.sleep(0.05)


def test_a_path_starts_at_the_callers_working_directory(served: Path) -> None:
    write_bytes(served / "below" / "config.yaml", config_yaml(resolve_config({"experiment": "here"})))
    command = [MGRAL, "data", "--config", "config.yaml"]
    done = subprocess.run(command, cwd=served / "below", env={**os.environ, ADDRESS: "../jobs.socket"}, check=False)
    assert done.returncode == 2


def test_streams_exit_codes_and_the_working_directory_are_those_of_the_caller(served: Path) -> None:
    missing = ("label", "--dataset", "no.json", "--labelled", "l", "--selection", "s", "--output", "o")
    for arguments in (missing, ("label", "--help"), ("label", "--what"), ("config", "--schema")):
        served_one, own = mgral(*arguments), mgral(*arguments, **{ADDRESS: ""})
        served_one.args = own.args
        assert vars(served_one) == vars(own)


def test_the_environment_is_the_callers(served: Path) -> None:
    arguments = ("agent", "--config", "c", "--dataset", "d", "--labelled", "l", "--strategy", "s")
    arguments += ("--embeddings", "e")
    arguments += ("--table", "t", "--seed", "0", "--cycle", "0", "--output", "o", "--log-csv", "l", "--summary", "s")
    refused = mgral(*arguments, MGRAL_DEVICE="toaster")
    assert refused.returncode == 2
    assert "MGRAL_DEVICE is 'toaster'" in refused.stderr


def test_a_step_ends_with_the_process_that_asked_for_it(served: Path) -> None:
    process = start_long_step(served)
    process.kill()
    process.communicate()
    wait_until_none(served)


def test_a_step_that_is_killed_is_a_failure_with_a_sentence(served: Path) -> None:
    process = start_long_step(served)
    (step,) = forked(served)
    os.kill(step, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == 137
    assert errors == "mgral: the process of this step was killed; had the machine too little memory?\n"


def test_the_server_ends_with_the_process_that_started_it(folder: Path) -> None:
    lines = (
        "import os",
        "from pathlib import Path",
        "from mgral.engine.job_server import job_server",
        "with job_server(Path('jobs.socket')): os._exit(1)",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False)
    until = time.monotonic() + 20
    while (folder / "jobs.socket").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("what", ["no server", "a dead one", "a folder", "another number of threads"])
def test_without_a_server_steps_start_by_themselves(folder: Path, what: str) -> None:
    environment = {ADDRESS: "jobs.socket"}
    if what == "a dead one":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind("jobs.socket")
    elif what == "a folder":
        (folder / "jobs.socket").mkdir()
    elif what == "another number of threads":
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind("jobs.socket")
            deaf.listen()
            assert mgral("label", "--help", **environment, OMP_NUM_THREADS="2").returncode == 0
        return
    assert mgral("label", "--help", **environment).returncode == 0


def test_where_no_socket_can_be_made_there_is_no_server(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "taken").mkdir()
    for place, why in (("x" * 120, "AF_UNIX path too long"), ("taken", "Is a directory")):
        with job_server(Path(place)):
            assert ADDRESS not in os.environ
            assert mgral("label", "--help").returncode == 0
        said = capfd.readouterr().err
        assert said == f"mgral: {place} cannot be a socket ({why}), so each step imports torch by itself\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_changes_no_exit_code(served: Path, closed: str) -> None:
    words = f"{MGRAL} data --config no.yaml --train a --test b {closed}"
    assert subprocess.run(["bash", "-c", f"{words}; exit $?"], check=False).returncode == 2


def test_a_client_that_says_nothing_is_left(folder: Path) -> None:
    with server.JobServer(Path("jobs.socket")) as listening, socket.socket(socket.AF_UNIX) as silent:
        listening.patience = 0.1
        silent.connect("jobs.socket")
        listening.handle_request()
        silent.settimeout(10)
        assert silent.recv(1) == b""


def test_torch_is_imported_before_the_fork_and_starts_no_thread() -> None:
    """A thread would not be in the forked process."""
    code = (
        "import os, sys; from mgral.cli import server; server._import_step(['detector']);"
        "print('torch' in sys.modules, len(os.listdir('/proc/self/task')))"
    )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, env={**os.environ, **threads})
    assert done.stdout == "True 1\n", done.stderr


def test_a_command_beside_a_server_ends_with_its_own_code(folder: Path) -> None:
    command = [sys.executable, "-m", "mgral.engine.job_server", "jobs.socket", sys.executable, "-c"]
    done = subprocess.run([*command, f"import os, sys; sys.exit(len(os.environ['{ADDRESS}']))"], check=False)
    assert done.returncode == len("jobs.socket")
    assert not (folder / "jobs.socket").exists()
