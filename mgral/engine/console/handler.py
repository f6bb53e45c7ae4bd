"""Follows a run by Snakemake's log events, and prints what a person needs to know of it."""

import logging
import re
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from mgral.engine.console.dry_run import DryRun, reason_of
from mgral.engine.console.jobs import StartedJob, job_title, last_words
from mgral.engine.console.live import live_lines
from mgral.engine.console.outcome import not_compared, result_lines
from mgral.engine.console.time_left import TimeLeft, duration
from mgral.errors import number_of

if TYPE_CHECKING:
    from rich.live import Live

MESSAGES = re.compile(
    r"Computing on |Terminating|Will exit|Trying to restart|Pulling |SLURM run ID|\d+ jobs have (missing|outdated)"
)
"""How the messages begin that are shown while jobs run; all of Snakemake's are in `.snakemake/log`."""
SHOWN_JOBS = 8
"""Running jobs that a terminal shows."""
STOPPED = re.compile(r"Terminating processes|Will exit after")
INTERRUPT_SECONDS = 5.0
"""Ctrl-C reaches jobs too, whose failure Snakemake may tell before it tells that it stops, on a busy machine seconds
before: what failed so shortly before did not fail by itself."""
UP_TO_DATE = "Nothing to be done"
FAILED_JOB = re.compile(r"RuleException:\nCalledProcessError|Exiting because a job|.*\nAt least one job did not")
"""What Snakemake says where a job failed, which its log explains better."""
NO_MESSAGE = ["It left no message: it may have been killed, for instance because memory ran out."]
GO_ON = "the same command continues from here."
TARGET = "all"
"""The rule that only names what to make."""


class FailedJob(NamedTuple):
    """A job that failed."""

    title: str
    message: list[str]
    """Lines that explain the failure; none where nothing does."""
    logs: tuple[Path, ...]
    time: float
    """When it failed, in seconds since the epoch."""


class LogHandler(LogHandlerBase):
    """Snakemake's logger plug-in `mgral`; with `--verbose` or `--debug-dag` Snakemake prints its own text instead.

    Snakemake calls it in one thread, and closes it when all is done.
    """

    writes_to_file = needs_rulegraph = False
    has_filter = has_formatter = True
    results = Path()
    """Folder of the experiment; the Snakefile tells it."""

    def __post_init__(self) -> None:
        settings = self.common_settings
        quiet = {option.name for option in settings.quiet or ()}
        self.silent, self.quiet = "ALL" in quiet, bool(quiet & {"ALL", "RULES", "PROGRESS"})
        self.stream = sys.stdout if settings.stdout else sys.stderr
        self.live: Live | None = None
        self.dry_run = DryRun() if settings.dryrun else None
        self.times = TimeLeft({}, [])
        self.jobs: dict[int, StartedJob] = {}
        self.running: dict[int, StartedJob] = {}
        self.done: dict[int, StartedJob] = {}
        self.failed: dict[int, FailedJob] = {}
        self.group_logs: tuple[Path, ...] = ()
        self.warned: set[str] = set()
        self.total, self.at_once, self.started = 0, 1, 0.0
        self.errors: list[str] = []
        self.stopped = self.up_to_date = False
        self.failure_message = ""
        """What Snakemake said of a failure; printed where nothing else explains it."""

    @property
    def writes_to_stream(self) -> bool:
        """Whether it prints, so that Snakemake does not."""
        return not (self.common_settings.verbose or self.common_settings.debug_dag)

    def expect(self, jobs: Mapping[int, tuple[str, Iterable[int]]], earlier: Iterable[tuple[str, float]]) -> None:
        """Take the jobs of the run, as `TimeLeft` does, and the times of an earlier run."""
        wanted = {number: job for number, job in jobs.items() if job[0] != TARGET}
        self.times, self.total = TimeLeft(wanted, earlier), len(wanted)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event."""
        try:
            if self.writes_to_stream:
                self._take(getattr(record, "event", None), vars(record), record)
        except Exception:
            self.handleError(record)

    def _take(self, event: str | None, fields: Mapping[str, Any], record: logging.LogRecord) -> None:
        match event:
            case LogEvent.WORKFLOW_STARTED:
                self.started = record.created
            case LogEvent.RUN_INFO:
                self.total = fields["stats"]["total"] - fields["stats"].get(TARGET, 0)
                if self.dry_run:
                    self.dry_run.counts = fields["stats"]
            case LogEvent.RESOURCES_INFO:
                self.at_once = fields.get("cores") or fields.get("nodes") or self.at_once
            case LogEvent.JOB_INFO if fields["rule_name"] != TARGET:
                self._start(fields, record.created)
            case LogEvent.SHELLCMD if self.common_settings.printshellcmds and fields.get("shellcmd"):
                self._print(f"    {fields['shellcmd']}")
            case LogEvent.JOB_FINISHED if fields["job_id"] in self.running:
                self._finish(fields["job_id"], record.created)
            case LogEvent.GROUP_ERROR:
                self.group_logs = tuple(map(Path, fields["aux_logs"]))
            case LogEvent.JOB_ERROR if fields["jobid"] in self.jobs and not self.stopped:
                self._fail(fields["jobid"], tuple(map(Path, fields["log"])), fields["rule_msg"], record.created)
            case LogEvent.ERROR | None:
                self._say(record.levelno, record.getMessage(), record.created)

    def _start(self, fields: Mapping[str, Any], now: float) -> None:
        title = job_title(fields["rule_name"], fields["wildcards"])
        if self.dry_run:
            reason = reason_of(fields["reason"], fields["log"])
            self.dry_run.reasons[fields["rule_name"]][reason] += 1
            if self.common_settings.printshellcmds:
                self._print(f"{title}  ({reason})")
            return
        if not self.jobs and not self.quiet:
            self.live = live_lines(self.stream, self._lines, self.common_settings.nocolor)
        logs = tuple(map(Path, fields["log"]))
        job = StartedJob(fields["rule_name"], title, logs, tuple(fields["output"]), now, bool(fields["indent"]))
        self.jobs[fields["jobid"]] = self.running[fields["jobid"]] = job
        self.failed.pop(fields["jobid"], None)  # it is tried again

    def _finish(self, number: int, now: float) -> None:
        job = self.done[number] = self.running.pop(number)
        if not job.in_group:
            self.times.measured[job.rule].append(now - job.started)
        for warning in job.warnings if not self.silent else []:
            if warning not in self.warned:
                self._print(f"{job.title}: {warning}", "yellow")
            self.warned.add(warning)
        if not self.live and not self.quiet:
            took = "" if job.in_group else duration(now - job.started)
            parts = (f"{len(self.done)}/{self.total}", job.title, took, self._time_left(now))
            self._print("  ".join(filter(None, parts)))

    def _fail(self, number: int, logs: tuple[Path, ...], reason: str | None, now: float) -> None:
        """Note a failure; of a failed group Snakemake names all jobs, most of which were done or not begun."""
        job = self.jobs[number]
        self.running.pop(number, None)
        message = last_words(job.logs if job.in_group else logs)
        logs = logs + self.group_logs if job.in_group else logs
        explanation = [reason, *message] if reason and message else message
        self.failed[number] = FailedJob(job.title, explanation, logs, now)
        if message or not job.in_group:
            self._print(f"failed: {job.title}", "bold red")

    def _say(self, level: int, message: str, now: float) -> None:
        """Print a message of Snakemake's, or of the Snakefile's, that a user must see."""
        if STOPPED.match(message):
            self.stopped = True
            self.failed = {number: job for number, job in self.failed.items() if now - job.time > INTERRUPT_SECONDS}
        self.up_to_date |= message.startswith(UP_TO_DATE)
        if FAILED_JOB.match(message):
            self.failure_message = message
        elif level >= logging.ERROR:
            self.errors.append(message)
            self._print(message if not self.jobs else f"error: {message.splitlines()[0]}", "red")
        elif not self.silent and level >= logging.WARNING:
            self._print(message, "yellow")
        elif not self.silent and (MESSAGES.match(message) or not (self.started or message.startswith("Assuming"))):
            self._print(message)

    def _lines(self) -> list[str]:
        """Return the live display: a headline, and a line for each job that runs."""
        now = time.time()
        failed = f"{len(self.failed)} failed" if self.failed else ""
        headline = ", ".join(filter(None, (f"{len(self.done)}/{self.total} jobs", failed, self._time_left(now))))
        jobs = [*self.running.copy().values()]
        shown = [(job.title, job.progress, duration(now - job.started)) for job in jobs[:SHOWN_JOBS]]
        hidden_jobs = [f"  and {len(jobs) - SHOWN_JOBS} more"] if len(jobs) > SHOWN_JOBS else []
        return [headline, *("  " + "  ".join(filter(None, parts)) for parts in shown), *hidden_jobs]

    def _time_left(self, now: float) -> str:
        """Return how long the run will take yet, in words; empty where that is not known."""
        running = {number: now - job.started for number, job in self.running.copy().items()}
        return self.times.text(running, [*self.done], [*self.failed], self.at_once)

    def close(self) -> None:
        """Print how the run ended; Python calls it once more at its end."""
        if self.live:
            self.live.stop()
            self.live = None
        if self.writes_to_stream and self.started:
            self._print("\n".join(self._end_lines()))
        self.started = 0.0
        super().close()

    def _end_lines(self) -> list[str]:
        """Return the last lines of a run: what failed, what was made, or what a dry run would do."""
        if self.failed or (self.errors and self.jobs):
            return ["", *self._failure_lines()]
        if self.stopped:
            return ["", f"Stopped: {len(self.done)} of {number_of(self.total, 'job')} are done; {GO_ON}"]
        if self.failure_message or self.errors or self.silent:
            return [self.failure_message]
        if self.dry_run and not self.up_to_date:
            return self.dry_run.lines()
        last_outputs = [output for job in [*self.done.values()][-1:] for output in job.outputs]
        results = result_lines(self.results, {job.rule for job in self.done.values()}, last_outputs)
        if self.up_to_date:
            message = "Nothing to do: all that was asked for is there and up to date."
            return [message, *not_compared(self.results), *results]
        return (
            ["", f"{number_of(len(self.jobs), 'job')} in {duration(time.time() - self.started)}", *results]
            if self.jobs
            else []
        )

    def _failure_lines(self) -> list[str]:
        """Return the errors, each failed job with its message and logs, and how the run goes on."""
        shown = [job for job in self.failed.values() if job.message] or [*self.failed.values()]
        lines = self.errors.copy()
        for job in shown:
            log_lines = [f"log: {log}" for log in job.logs if log.exists()]
            lines += [f"failed: {job.title}", *(f"    {line}" for line in (*(job.message or NO_MESSAGE), *log_lines))]
        waiting = self.total - len(self.jobs) + len(self.failed) - len(shown)
        not_run = f"{waiting} of {self.total} could not run because of this. " if waiting > 0 else ""
        failed = f"{number_of(len(shown), 'job')} failed. " if shown else ""
        return [*lines, "", f"{failed}{not_run}After the cause is removed, {GO_ON}"]

    def _print(self, text: str, style: str = "") -> None:
        with suppress(BrokenPipeError):  # such as of `| head`
            if self.live:
                self.live.console.print(text, style=style or None, soft_wrap=True)
            elif text:
                print(text, file=self.stream, flush=True)
