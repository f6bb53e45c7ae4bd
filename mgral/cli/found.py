"""What the steps that check a data set print of what they found."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click

from mgral.data.findings import ALL_LISTED, NAMED, FaultyDataError, Finding, Findings, described
from mgral.errors import InputError

OTHER = Finding("other faults", "each says what to do")
"""Kind of the errors that stop a step before it has looked for faults, such as a data folder that is not there."""


@contextmanager
def faults_shown(as_json: bool, in_log: bool = False) -> Iterator[None]:
    """Print all findings if a data set cannot be used, and let the error pass on.

    Repairs go to standard error, as they may contain the cause; with `as_json` faults and repairs go to standard
    output. With `in_log` all places of the faults go to standard error, as a message names the first only.
    """
    try:
        yield
    except InputError as error:
        findings = error.findings if isinstance(error, FaultyDataError) else Findings({OTHER: [str(error)]})
        show_repairs(findings, "repaired or left out, which may have led to the faults:")
        if in_log and any(len(places) > NAMED for places in findings.faults.values()):
            click.echo("\n".join(["all faults:", *described(findings.faults, named=None)]), err=True)
        if as_json:
            click.echo(json.dumps(findings.as_json(), indent=1))
        raise


def show_repairs(
    findings: Findings, title: str = "warning: used after repairs:", all_listed: str = ALL_LISTED
) -> None:
    """Print the repairs, if there are any, to standard error."""
    if findings.repairs:
        click.echo("\n".join([title, *described(findings.repairs, all_listed)]), err=True)
