"""Follows a run by Snakemake's log events, and prints what a person needs to know of it."""

import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from mgral.engine.console.dry_run import DryRun
from mgral.engine.console.jobs import Failure, Job, job_title, last_words
from mgral.engine.console.live import LiveLines
from mgral.engine.console.outcome import result_lines
from mgral.engine.console.time_left import TimeLeft, duration

SHOWN = re.compile(
    r"Terminating processes|Will exit after|Trying to restart|Pulling |SLURM run ID|\d+ jobs have (missing|outdated)"
)
"""How a message of Snakemake begins that is shown while jobs run; all of them are in `.snakemake/log`."""
STOPPED = re.compile(r"Terminating processes|Will exit after")
UP_TO_DATE = "Nothing to be done"
SHARED = "Assuming unrestricted shared filesystem usage."
FAILED_JOB = re.compile(
    r"RuleException:\nCalledProcessError|Exiting because a job execution failed|.*\nAt least one job did not complete"
)
"""What Snakemake says where a job failed, which its log explains better."""
TARGET = "all"
"""The rule that only names what to make."""


class LogHandler(LogHandlerBase):
    """Snakemake's logger plug-in `mgral`; with `--verbose` or `--debug-dag` Snakemake prints its own text instead.

    Snakemake calls it in one thread, and closes it when all is done.
    """

    def __post_init__(self) -> None:
        given = self.common_settings
        self.stream = sys.stdout if given.stdout else sys.stderr
        quiet = {one.name for one in given.quiet or ()}
        self.silent = "ALL" in quiet and not given.dryrun
        self.quiet = bool(quiet & {"ALL", "RULES", "PROGRESS"})
        self.dry_run = DryRun(given.printshellcmds) if given.dryrun else None
        self.live: LiveLines | None = None
        self.results: Path | None = None
        """Folder of the experiment; of another workflow unknown."""
        self.times = TimeLeft({}, [])
        self.jobs: dict[int, Job] = {}
        self.running: dict[int, Job] = {}
        self.failed: dict[int, Failure] = {}
        self.silent_in_group: dict[int, Failure] = {}
        """Jobs of a failed group that left no message: most were done, or not yet begun."""
        self.group_logs: tuple[Path, ...] = ()
        self.done: dict[int, Job] = {}
        self.errors: list[str] = []
        self.covered = ""
        """What Snakemake said of a failure, which is printed where nothing else explains it."""
        self.warned: set[str] = set()
        self.total = 0
        self.at_once = 1
        self.started: float | None = None
        self.stopped = self.up_to_date = self.closed = False

    @property
    def writes_to_stream(self) -> bool:
        """Whether it prints, so that Snakemake does not."""
        return not (self.common_settings.verbose or self.common_settings.debug_dag)

    writes_to_file = needs_rulegraph = False
    has_filter = has_formatter = True

    def expect(self, jobs: Mapping[int, tuple[str, Iterable[int]]], earlier: Iterable[tuple[str, float]]) -> None:
        """Take the jobs of the run, as `TimeLeft` does, and the times of an earlier run."""
        self.times = TimeLeft({number: job for number, job in jobs.items() if job[0] != TARGET}, earlier)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event."""
        if not self.writes_to_stream:
            return
        try:
            self._take(record)
        except BrokenPipeError:  # such as of `| head`
            self.stream = Path(os.devnull).open("w")  # noqa: SIM115
        except Exception:
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        event, fields = getattr(record, "event", None), vars(record)
        match event:
            case LogEvent.WORKFLOW_STARTED:
                self.started = record.created
            case LogEvent.RUN_INFO:
                counts = fields["stats"]
                self.total = counts["total"] - counts.get(TARGET, 0)
                if self.dry_run:
                    self.dry_run.counts = counts
            case LogEvent.RESOURCES_INFO:
                self.at_once = fields.get("cores") or fields.get("nodes") or self.at_once
            case LogEvent.JOB_INFO if fields["rule_name"] != TARGET:
                self._start(fields["jobid"], record)
            case LogEvent.SHELLCMD if self.common_settings.printshellcmds and fields.get("shellcmd"):
                self._print(f"    {fields['shellcmd']}")
            case LogEvent.JOB_FINISHED if fields["job_id"] in self.running:
                self._finish(fields["job_id"], record.created)
            case LogEvent.GROUP_ERROR:
                self.group_logs = tuple(map(Path, fields["aux_logs"]))
            case LogEvent.JOB_ERROR if fields["jobid"] in self.jobs and not self.stopped:
                self._fail(fields["jobid"], tuple(map(Path, fields["log"])), fields["rule_msg"] or "")
            case LogEvent.ERROR | None:
                self._say(record.levelno, record.getMessage())

    def _start(self, number: int, record: logging.LogRecord) -> None:
        fields = vars(record)
        title = job_title(fields["rule_name"], fields["wildcards"])
        if self.dry_run:
            self.dry_run.add(fields["rule_name"], fields["reason"], [*fields["log"]])
            if self.common_settings.printshellcmds:
                self._print(f"{title}  ({self.dry_run.reason_of(fields['reason'], fields['log'])})")
            return
        if not self.jobs and not self.quiet:
            self.live = LiveLines.on(self.stream, self._state, self.common_settings.nocolor)
            if not self.live:
                self._print(f"{self.total} jobs")
        logs, outputs = tuple(map(Path, fields["log"])), tuple(fields["output"])
        job = Job(fields["rule_name"], title, logs, outputs, record.created, bool(fields["indent"]))
        self.jobs[number] = self.running[number] = job
        for failures in (self.failed, self.silent_in_group):  # it is tried again
            failures.pop(number, None)
        self.times.failed.discard(number)

    def _finish(self, number: int, ended: float) -> None:
        job = self.done[number] = self.running.pop(number)
        seconds = None if job.in_group else ended - job.started
        self.times.finish(number, seconds)
        for warning in job.warnings if not self.silent else []:
            if warning not in self.warned:
                self._print(f"{job.title}: {warning}", "yellow")
            self.warned.add(warning)
        if not self.live and not self.quiet:
            took = "" if seconds is None else duration(seconds)
            count = f"{len(self.done)}/{self.total}"
            self._print("  ".join(part for part in (count, job.title, took, self._left()) if part))

    def _fail(self, number: int, logs: tuple[Path, ...], reason: str) -> None:
        job = self.jobs[number]
        self.running.pop(number, None)
        self.times.failed.add(number)
        if job.in_group and not last_words(job.logs):
            self.silent_in_group[number] = Failure(job.title, logs + self.group_logs, reason)
            return
        self.failed[number] = Failure(job.title, logs, reason)
        self._print(f"failed: {job.title}", "bold red")

    def _say(self, level: int, message: str) -> None:
        """Print a message of Snakemake's, or of the Snakefile's, that a user must see."""
        self.stopped |= bool(STOPPED.match(message))
        self.up_to_date |= message.startswith(UP_TO_DATE)
        if level >= logging.ERROR:
            if FAILED_JOB.match(message):
                self.covered = message
            else:
                self.errors.append(message)
                self._print(message, "red")
        elif self.silent or (level < logging.WARNING and self.up_to_date):
            return
        elif level >= logging.WARNING:
            self._print(message, "yellow")
        elif message != SHARED and (self.started is None or SHOWN.match(message)):
            self._print(message)

    def _state(self) -> tuple[str, list[Job]]:
        """Return what the live display shows: a headline, and the jobs that run."""
        lost = f", {len(self.failed)} failed" if self.failed else ""
        left = self._left()
        return f"{len(self.done)}/{self.total} jobs{lost}{', ' if left else ''}{left}", list(self.running.values())

    def _left(self) -> str:
        now = time.time()
        return self.times.text({number: now - job.started for number, job in self.running.items()}, self.at_once)

    def close(self) -> None:
        """Print how the run ended."""
        if self.closed:
            return
        self.closed = True
        if self.live:
            self.live.stop()
            self.live = None
        try:
            if self.writes_to_stream and self.started is not None:
                for line in self._end():
                    self._print(line)
        finally:
            super().close()

    def _end(self) -> list[str]:
        ended = f"{len(self.done)} of {self.total} jobs are done"
        if self.failed or self.silent_in_group:
            return self._failures()
        if self.stopped:
            return ["", f"Stopped: {ended}. The same command goes on from there."]
        if self.errors:
            return ["", f"The error above ended the run: {ended}."] if self.jobs else []
        if self.covered:
            return [self.covered]
        if self.silent:
            return []
        if self.up_to_date:
            return ["Nothing to do: all that was asked for is there and up to date.", *self._results()]
        if self.dry_run:
            return self.dry_run.lines()
        if not self.jobs:
            return []
        return ["", f"{len(self.jobs)} jobs in {duration(time.time() - (self.started or 0))}", *self._results()]

    def _results(self) -> list[str]:
        last = [output for job in list(self.done.values())[-1:] for output in job.outputs]
        return result_lines(self.results, {job.rule for job in self.done.values()}, last)

    def _failures(self) -> list[str]:
        shown = self.failed or self.silent_in_group
        lines = ["", *(line for failure in shown.values() for line in failure.lines()), ""]
        waiting = self.total - len(self.jobs) + len(self.silent_in_group) * bool(self.failed)
        kept = f"{waiting} of {self.total} could not run because of it. " if waiting > 0 else ""
        failed = f"{len(shown)} job{'s' * (len(shown) > 1)} failed. "
        return [*lines, f"{failed}{kept}When the cause is removed, the same command goes on from here."]

    def _print(self, text: str, style: str = "") -> None:
        if self.live:
            self.live.print(text, style)
        else:
            print(text, file=self.stream, flush=True)
