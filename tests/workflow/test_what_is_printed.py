"""What `snakemake` prints, on the stub of all steps."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from run_workflow import ROOT, TINY, environment_of, snakemake
from terminal import run_in_terminal

RUN = ("--cores", "2", "--configfile", TINY)
GO_ON = "After the cause is removed, the same command continues from here."
SLOW = """
case $1 in
detector) for i in 20 40; do echo "detector $i/40" >&2; sleep 0.7; done ;;
data) printf 'warning: used after repairs:\\n  Images without boxes (3): taken for images without objects\\n' >&2 ;;
esac
echo "a table for people who call mgral $1 themselves"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    done = snakemake(folder, *RUN, stub=True)
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


def stub_that(folder: Path, does: str) -> Path:
    """Return the folder of a stub that does something more in each step."""
    program = folder / "programs" / "mgral"
    program.parent.mkdir()
    program.write_text(f'#!/usr/bin/env bash\n{does}\nexec {ROOT / "tests/support/stub/mgral"} "$@"\n')
    program.chmod(0o755)
    return program.parent


def in_terminal(folder: Path, stub: bool | Path, *options: str | Path, **more: str) -> tuple[int, str]:
    """Run in a terminal of 60 columns; returns the exit code and what was written."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", *options]
    interrupt_at = more.pop("interrupt_at", "").encode()
    environment = {**environment_of(folder, stub), "TERM": "xterm", **more}
    code, written = run_in_terminal([str(part) for part in command], folder, environment, 60, interrupt_at)
    return code, written.decode()


def test_a_short_line_for_each_job_without_a_terminal(finished: tuple[Path, str]) -> None:
    lines = finished[1].splitlines()
    assert "Using workflow specific profile" in lines[0]
    jobs = [line for line in lines if "/44  " in line]
    assert [line.split("  ")[0] for line in jobs] == [f"{number}/44" for number in range(1, 45)]
    assert jobs[0].startswith("1/44  config  ")
    assert any("  seed 0  mgral  cycle 1  detector  0." in line for line in jobs)
    assert lines[-3] == ""
    assert lines[-2].startswith("44 jobs in ")
    assert lines[-1] == "Report: results/tiny/report.html"
    assert max(map(len, jobs)) < 90
    assert "\x1b" not in finished[1]


def test_nothing_to_do_is_said_in_a_line(finished: tuple[Path, str]) -> None:
    for options in ((), ("-n",)):
        done = snakemake(finished[0], *RUN, *options, stub=True)
        assert done.returncode == 0
        assert done.stdout.splitlines()[1:] == [
            "Nothing to do: all that was asked for is there and up to date.",
            "Report: results/tiny/report.html",
        ]


def test_a_single_file_is_named(finished: tuple[Path, str]) -> None:
    file = "results/tiny/seed0/full/cycle0/labelled.json"
    done = snakemake(finished[0], *RUN, "--force", file, stub=True)
    assert done.stdout.splitlines()[-2].startswith("1 job in ")
    assert done.stdout.splitlines()[-1] == f"Made: {file}"


@pytest.mark.parametrize("quiet", ["", "--quiet", "--quiet all"])
def test_a_failure_is_explained_at_the_bottom_and_once(tmp_path: Path, quiet: str) -> None:
    done = snakemake(tmp_path, *RUN, *quiet.split(), stub=True, STUB_FAILS="embed")
    assert done.returncode == 1
    assert done.stdout.count("mgral: the stub fails at embed") == 1
    assert "Command 'set" not in done.stdout
    assert done.stdout.splitlines()[-6:] == [
        "",
        "failed: seed 0  initial  cycle 0  embed",
        "    mgral: the stub fails at embed",
        "    log: results/tiny/logs/embed/seed0/initial/cycle0/default.log",
        "",
        f"1 job failed. 16 of 44 could not run because of this. {GO_ON}",
    ]


def test_a_job_that_writes_nothing_is_named_at_the_bottom(tmp_path: Path) -> None:
    done = snakemake(tmp_path, *RUN, stub=stub_that(tmp_path, "[ $1 = groups ] && exit"))
    assert done.returncode == 1
    end = done.stdout.splitlines()[-8:]
    assert any("results/tiny/dataset/groups.json" in line for line in end)
    assert end[-1] == f"10 of 44 could not run because of this. {GO_ON}"


def test_a_killed_job_has_no_message(tmp_path: Path) -> None:
    done = snakemake(tmp_path, *RUN, stub=stub_that(tmp_path, "[ $1 = cache ] && kill -9 $$"))
    assert "    It left no message: it may have been killed, for instance because memory ran out." in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--config", "budgets=3"), 2, "budgets: unknown key"),
        (("results/tiny/nothing",), 1, "No rule to produce results/tiny/nothing"),
        (("--set-resources", "detector:gpu=99"), 2, "jobs are given 99 GPUs"),
    ],
)
def test_quiet_hides_no_failure_before_the_first_job(
    tmp_path: Path, options: tuple[str | Path, ...], code: int, sentence: str
) -> None:
    done = snakemake(tmp_path, *options, *RUN, "--quiet", "all", PATH="/usr/bin:/bin", MGRAL_DEVICE="")
    assert done.returncode == code
    assert sentence in done.stdout
    assert " jobs in " not in done.stdout


def test_quiet_hides_no_error_of_the_snakefile_and_no_lock(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'a'\n    shell: 'touch a'\n")
    command = [sys.executable, "-m", "snakemake", "--logger", "mgral", "--cores", "1", "--quiet", "all"]

    def run() -> str:
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False).stderr

    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text(f"{tmp_path}/a\na\n")
    assert "Directory cannot be locked" in run()
    shutil.rmtree(locks)
    (tmp_path / "Snakefile").write_text("1 / 0\n")
    assert "ZeroDivisionError" in run()


def test_verbose_is_snakemakes_own_text(tmp_path: Path) -> None:
    done = snakemake(tmp_path, *RUN, "--verbose", stub=True)
    assert "localrule config:" in done.stdout
    assert "44 of 45 steps (98%) done" in done.stdout
    assert "jobs in" not in done.stdout


def test_dry_run_counts_jobs_and_says_why(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    (folder / "results/tiny/seed0/initial/cycle0/embeddings/default.safetensors").unlink()
    run = ("-n", "--configfile", TINY, "--config", "agent={learning_rate: 0.5}")
    lines = snakemake(folder, *run, stub=True).stdout.splitlines()[1:]
    assert lines[0] == "17 jobs would run:"
    rows = [line.split(maxsplit=2) for line in lines[1:]]
    counted = {rule: (int(count), why) for count, rule, why in rows}
    assert counted["embed"][0] == 1
    assert counted["embed"][1].split("  ")[0] == "output missing"
    assert counted["agent"][0] == 2
    assert counted["agent"][1].split("  ")[0] == "settings changed (1), input will change (1)"
    commands = snakemake(folder, *run, "-p", stub=True).stdout.splitlines()
    assert "seed 0  initial  cycle 0  embed  (output missing)" in commands
    assert sum(line.startswith("    mgral embed --config") for line in commands) == 1


@pytest.mark.parametrize("asked", ["--list-rules", "--detailed-summary", "--dag"])
def test_nothing_is_added_to_standard_output(finished: tuple[Path, str], asked: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile", TINY, asked]

    def printed(*options: str) -> str:
        environment = {**environment_of(finished[0], True), "PYTHONHASHSEED": "0"}
        whole = [str(part) for part in (*command, *options)]
        done = subprocess.run(whole, cwd=finished[0], env=environment, text=True, capture_output=True, check=True)
        return done.stdout

    without_plug_in = ("--workflow-profile", "none", "--max-checksum-file-size", "1000000000")
    assert printed() == printed(*without_plug_in)


def test_a_terminal_shows_what_runs_and_how_far_it_is(tmp_path: Path) -> None:
    code, written = in_terminal(tmp_path, stub_that(tmp_path, SLOW), *RUN)
    assert code == 0
    assert "  seed 0  initial  cycle 0  detector  20/40  " in written
    assert "1/44  config" not in written  # no line stays for a job
    assert "\x1b[?25l" in written
    end = written[written.rindex("\x1b[?25h") :]  # the cursor is back before the end
    assert "44 jobs in " in end
    assert "Report: results/tiny/report.html" in end
    assert "data: warning: used after repairs:" in written
    assert "Images without boxes (3): taken for images" in written
    assert "a table for people" not in written  # it is in the log of the step
    assert "a table for people" in (tmp_path / "results/tiny/logs/data/data.log").read_text()


def test_a_terminal_without_colours(tmp_path: Path) -> None:
    code, written = in_terminal(tmp_path, True, *RUN, STUB_FAILS="agent", NO_COLOR="1")
    assert code == 1
    assert "\x1b[31m" not in written
    assert "\x1b[1;31m" not in written


def test_a_dumb_terminal_gets_lines(tmp_path: Path) -> None:
    code, written = in_terminal(tmp_path, True, *RUN, TERM="dumb")
    assert code == 0
    assert "1/44  config" in written
    assert "\x1b" not in written


def test_ctrl_c_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    slower = SLOW.replace("sleep 0.7", "sleep 2")  # than the terminal on a busy machine
    code, written = in_terminal(tmp_path, stub_that(tmp_path, slower), *RUN, interrupt_at="cycle 0  detector")
    assert code == 1, written
    end = written[written.rindex("\x1b[?25h") :]
    assert "Stopped: " in end
    assert " of 44 jobs are done; the same command continues from here." in end
    assert "failed: " not in end


def test_a_dry_run_counts_no_job_behind_its_end(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-n", "--configfile", TINY, "--until", "initial", stub=True)
    lines = done.stdout.splitlines()[1:]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["1", "config"],
        ["1", "synthesize"],
        ["1", "data"],
        ["2", "initial"],
    ]
    assert lines[0] == "5 jobs would run:"


def test_a_failure_of_snakemakes_own_ends_the_job_server_in_silence(tmp_path: Path) -> None:
    logs = tmp_path / "results" / "tiny" / "logs"
    logs.mkdir(parents=True)
    (logs / "config").touch()  # a file in the place of a folder
    done = snakemake(tmp_path, *RUN, stub=True)
    assert done.returncode == 1
    assert "Not a directory" in done.stdout
    assert "Exception ignored" not in done.stdout
