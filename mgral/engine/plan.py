"""The jobs that Snakemake plans, read from the records of its log.

Snakemake announces every job of a dry run by a log record of the event `JOB_INFO`, whose fields are its interface for
logger plug-ins. Its printed text is for people, and changes with a console plug-in. The dry run happens in a process
of its own, as the Snakefile changes the environment and ends the process where it refuses a configuration.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mgral.engine.installed import snakefile
from mgral.engine.ownership import PLAN_ONLY
from mgral.errors import InputError, StepError

EVERY_JOB = ("--snakefile", str(snakefile()), "--forceall")


@dataclass(frozen=True)
class PlannedJob:
    """A job as Snakemake plans it."""

    rule: str
    wildcards: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    logs: tuple[str, ...]
    command: str
    """Shell command of the job."""
    resources: dict[str, Any]

    @property
    def command_without_log(self) -> str:
        """The command on one line, without sending messages to the job's log."""
        command = " ".join(self.command.split())
        for log in self.logs:
            command = command.replace(f" > {log} 2>&1", "").replace(f" >> {log} 2>&1", "")
        return command


def plan_all(configfile: Path, *options: str) -> list[PlannedJob]:
    """Return every job of a configuration by this package's Snakefile from nothing, in no particular order.

    Raises
    ------
    InputError
        Where the configuration is refused, with the reason.
    """
    return plan_jobs(*EVERY_JOB, "--configfile", str(configfile), *options)


def plan_jobs(
    *options: str, environment: dict[str, str] | None = None, folder: Path | None = None
) -> list[PlannedJob]:
    """Return the jobs that `snakemake` would run now with these options, in no particular order.

    Parameters
    ----------
    environment
        Of the process; this one's unless given.
    folder
        Working directory; this one unless given.

    Raises
    ------
    InputError
        Where the configuration is refused, with the reason.
    StepError
        Where Snakemake fails.
    """
    command = [sys.executable, "-m", "mgral.engine.plan", *options]
    result = subprocess.run(command, text=True, capture_output=True, check=False, env=environment, cwd=folder)
    if result.returncode == 2:
        raise InputError(result.stderr.rpartition("mgral: ")[2].strip())
    if result.returncode:
        raise StepError(f"snakemake --dry-run failed:\n{result.stderr.strip()}")
    return [
        PlannedJob(**{**fields, **{name: tuple(fields[name]) for name in ("inputs", "outputs", "logs")}})
        for fields in json.loads(result.stdout)
    ]


def _job_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of the `PlannedJob` that a log record announces."""
    fields = vars(record)
    resources = {name: value for name, value in fields["resources"].items() if isinstance(value, int | float | str)}
    job = PlannedJob(
        rule=fields["rule_name"],
        wildcards={name: str(value) for name, value in fields["wildcards"].items()},
        inputs=tuple(map(str, fields["input"])),
        outputs=tuple(sorted(map(str, fields["output"]))),
        logs=tuple(map(str, fields["log"])),
        command=fields["shellcmd"] or "",
        resources=resources,
    )
    return asdict(job)


def _print_plan(options: Sequence[str]) -> None:
    """Print the jobs as JSON; exit as Snakemake does."""
    from snakemake.cli import main
    from snakemake.logging import logger
    from snakemake_interface_logger_plugins.common import LogEvent

    jobs: list[dict[str, Any]] = []

    def collect(record: logging.LogRecord) -> bool:
        if getattr(record, "event", None) == LogEvent.JOB_INFO and record.rule_name != "all":  # type: ignore[attr-defined]
            jobs.append(_job_of(record))
        return True

    os.environ[PLAN_ONLY] = "1"
    # A filter of the logger itself: Snakemake removes the handlers that it finds there.
    logger.addFilter(collect)
    with redirect_stdout(sys.stderr):
        try:
            main(["--dry-run", *options])
        except SystemExit as ended:
            if ended.code:
                raise
    print(json.dumps(jobs))


if __name__ == "__main__":
    _print_plan(sys.argv[1:])
