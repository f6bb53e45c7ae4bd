"""Jobs that are given a card run in workers, one after another, as they would in processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_workflow import ROOT, TINY, jobs_planned
from slow import slow

from mgral.cli.workers import integer_option
from mgral.compute.cards import still_locked
from mgral.engine.job_server import job_server

MGRAL = str(Path(sys.executable).with_name("mgral"))
SERVER = (sys.executable, str(ROOT / "tests/support/worker_server.py"))
PID = "import os; print(os.getpid())"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server, as the working directory, which all tests share; in the end its workers end with it."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in (("OMP_NUM_THREADS", "1"), ("TMPDIR", str(folder))):
            patch.setenv(name, value)
        with job_server(Path("jobs.socket"), SERVER):
            yield folder
            workers = idle(folder)
            assert workers
        assert idle(folder) == []
        for worker in workers:
            wait_until_ended(worker)


def python(code: str, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([MGRAL, *words(code, *options)], text=True, capture_output=True, env={**os.environ, **more})


def words(code: str, *options: str) -> list[str]:
    return ["python", code, "--gpus", "1", "--vram-mb", "2000", *options]


def printed(code: str, *options: str, **more: str) -> str:
    done = python(code, *options, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start(code: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [MGRAL, *words(code, *options)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def idle(folder: Path) -> list[int]:
    """Return the processes of the idle workers."""
    (place,) = folder.glob("mgral-cards-*/idle")
    return [int(path.name.split(".")[-1]) for path in still_locked(place, "*")]


def wait_until_ended(pid: int) -> None:
    until = time.monotonic() + 20
    while Path("/proc", str(pid)).exists() and " Z " not in Path("/proc", str(pid), "stat").read_text():
        assert time.monotonic() < until, f"{pid} goes on"
        time.sleep(0.05)


def test_a_worker_runs_one_job_after_another_on_its_card(served: Path) -> None:
    first = printed("import os; print(os.getpid(), os.environ['CUDA_VISIBLE_DEVICES'])")
    assert first.split()[1] == "CARD"
    assert printed("import os; print(os.getpid(), os.environ['CUDA_VISIBLE_DEVICES'])") == first
    assert int(first.split()[0]) in idle(served)
    without = subprocess.run([MGRAL, "python", PID], text=True, capture_output=True, check=True)
    assert without.stdout.strip() != first.split()[0]


def test_a_job_has_the_clients_streams_folder_environment_and_code(served: Path) -> None:
    printed(PID)
    (served / "below").mkdir()
    code = "import os, sys; print(os.getcwd(), os.environ.get('MINE'), sys.stdin.read()); sys.exit(7)"
    done = subprocess.run(
        [MGRAL, *words(code)],
        cwd=served / "below",
        input="given",
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "MINE": "yes", "MGRAL_SERVER": "../jobs.socket"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{served}/below yes given\n", "")


SPOIL = """
import os, random, signal, sys, warnings
import numpy as np, torch
random.seed(1), np.random.seed(1), torch.manual_seed(1)
np.seterr(all="raise")
torch.use_deterministic_algorithms(True), torch.set_default_dtype(torch.float64), torch.set_num_threads(2)
torch.set_grad_enabled(False)
torch.backends.cudnn.benchmark = True
os.environ["MINE"] = "spoilt"
os.chdir("/")
warnings.simplefilter("error")
warnings.showwarning = None
signal.signal(signal.SIGTERM, signal.SIG_IGN), signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.stderr.write("no end of line")
"""
LOOK = """
import os, random, signal, warnings
import numpy as np, torch
warnings.warn("seen", UserWarning)
print(random.random(), np.random.rand(), torch.rand(1).item(), torch.initial_seed(), np.geterr())
print(torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype(), torch.get_num_threads())
print(torch.is_grad_enabled(), torch.backends.cudnn.benchmark, os.environ.get("MINE"), os.getcwd())
print(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), [str(one) for one in warnings.filters])
"""


def test_nothing_leaks_from_one_job_to_the_next(served: Path) -> None:
    printed(PID)
    before = python(LOOK)
    assert "UserWarning: seen" in before.stderr
    python(SPOIL)
    after = python(LOOK)
    assert after.stdout.splitlines() == before.stdout.splitlines()
    assert after.stderr == before.stderr


def test_a_job_that_fails_leaves_the_worker_usable(served: Path) -> None:
    pid = printed(PID)
    failed = python("1 / 0")
    assert failed.returncode == 1
    assert "ZeroDivisionError" in failed.stderr
    assert printed(PID) == pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_job_that_crashes_takes_its_worker_with_it(served: Path, number: int) -> None:
    crashed = python(f"import os; print(os.getpid(), flush=True); os.kill(os.getpid(), {number})")
    pid = int(crashed.stdout)
    assert crashed.returncode == 137
    assert crashed.stderr.startswith("mgral: the process of this step was killed")
    assert int(printed(PID)) != pid
    assert pid not in idle(served)


def test_a_job_ends_with_the_process_that_asked_for_it(served: Path) -> None:
    pid = printed(PID)
    client = start("import time; print('runs', flush=True); time.sleep(600)")
    assert client.stdout is not None
    assert client.stdout.readline() == "runs\n"
    client.kill()
    client.communicate()
    wait_until_ended(int(pid))
    assert printed(PID) != pid


def test_jobs_side_by_side_have_workers_of_their_own_which_end_where_memory_is_needed(served: Path) -> None:
    code = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    clients = [
        subprocess.Popen([MGRAL, *words(code)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    pids = {int(client.stdout.readline()) for client in clients if client.stdout}
    assert len(pids) == 3
    for client in clients:
        client.communicate()
    assert set(idle(served)) == pids, "others were idle before, and served these"
    # Of 16,000 MiB two workers' 1,500 each fit beside 12,000, and none beside 15,000.
    assert int(printed(PID, "--vram-mb=12000")) in pids
    assert set(idle(served)) == pids
    assert int(printed(PID, "--vram-mb=15000")) in pids
    assert len(idle(served)) == 1


COST = """
from mgral.engine import provenance
from time import perf_counter
import json
begun = perf_counter()
work = bytearray({size})
{more}
print(json.dumps(provenance._cost(begun)))
"""


def test_costs_are_those_of_the_job(served: Path) -> None:
    busy = "import time\nbegan = time.process_time()\nwhile time.process_time() < began + 1: pass"
    first = json.loads(printed(COST.format(size=400 * 2**20, more=busy)))
    second = json.loads(printed(COST.format(size=2**20, more="")))
    assert first["processor_seconds"] >= 1
    assert second["processor_seconds"] < 1
    assert second["peak_memory_mb"] < first["peak_memory_mb"] - 300


@slow
def test_steps_write_the_same_bytes_as_in_forks(served: Path, undisturbed: Path) -> None:
    """All steps of the tiny experiment that can use a GPU, in one worker."""
    shutil.copytree(undisturbed / "results", served / "results")
    jobs = [job for job in jobs_planned(undisturbed, "--forceall", "--configfile", TINY) if "--gpus 0" in job.command]
    expected = {path: (undisturbed / path).read_bytes() for job in jobs for path in job.outputs}
    assert {job.rule for job in jobs} >= {"detector", "evaluate", "embed", "base", "variant", "agent", "select"}
    workers: set[int] = set()
    for job in jobs:
        for path in job.outputs:
            (served / path).unlink()
        command = job.command.replace("--gpus 0", "--gpus 1").replace("mgral", MGRAL, 1)
        done = subprocess.run(["bash", "-c", command], check=False)
        assert done.returncode == 0, (served / job.logs[0]).read_text()
        workers |= set(idle(served))
        assert {path: (served / path).read_bytes() for path in job.outputs} == {
            path: expected[path] for path in job.outputs
        }
    assert workers == set(idle(served)), "some job did not run in the worker that was there"


@pytest.mark.parametrize(
    ("words", "number"),
    [("--gpus 1 --output o", 1), ("--gpus 1 --gpus=2", 2), ("--seed 1", 0), ("--gpus", 0), ("--gpus x", 0), ("", 0)],
)
def test_a_number_is_read_from_the_words_of_a_step(words: str, number: int) -> None:
    assert integer_option(words.split(), "--gpus") == number
