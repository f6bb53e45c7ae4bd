"""Pulls: labels come from the servers that batches were pushed to, and are imported as files are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from mgral.data.findings import Findings
from mgral.errors import InputError, StepError, number_of, program
from mgral.labelling.importing import NOTHING_TO_RENAME
from mgral.labelling.returning import import_files
from mgral.labelling.servers.interface import Pulled, Tool
from mgral.labelling.servers.pushing import Connect, checked_url, connect
from mgral.labelling.settings import Shapes
from mgral.labelling.starting import PULLED, merge_findings
from mgral.labelling.state import Project, load_project
from mgral.labelling.status import IMPORT


def pull(
    folder: Path,
    *,
    url: str | None = None,
    renamed: Mapping[str, str],
    leave_out_unknown: bool = False,
    shapes: Shapes | None = None,
    connect: Connect = connect,
) -> tuple[list[str], Findings]:
    """Save what all servers have that this project was pushed to, and import it; see `import_files`.

    Parameters
    ----------
    url
        Of the only server to ask, where another is gone or has moved; None for all.

    Returns
    -------
    Lines that say what each server had and what changed, and what was odd.

    Raises
    ------
    FaultyDataError
        As `import_files` does; what was saved stays, and can be looked at.
    InputError, StepError
        As servers do; then nothing is imported.
    """
    project = load_project(folder)
    if not project.pushed:
        raise InputError(
            f"nothing was pushed from here; push first ({program()} project push), or: {program()} project {IMPORT}"
        )
    if url is not None:
        known, url = {place.url for place in project.pushed}, checked_url(url)
        if url not in known:
            raise InputError(f"nothing was pushed to {url}, but to {', '.join(sorted(known))}")
        project.pushed = {place: there for place, there in project.pushed.items() if place.url == url}
    lines: list[str] = []
    found: list[Pulled] = []
    # People may share a project there.
    servers = dict.fromkeys((place.tool, place.url, there.id) for place, there in project.pushed.items())
    for name, where, number in servers:
        tool = next(one for one in get_args(Tool) if one == name)
        output = folder / PULLED / _name(tool, where, number)
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StepError(
                f"{output} cannot be made ({error.strerror}); correct the permissions of the folder"
            ) from None
        found.append(connect(tool, where).pull(number, project, output))
        lines += found[-1].lines
    lines += _nowhere(project, found) if url is None else []
    findings = Findings()
    ways = sorted({one.empty for one in found})
    for empty in ways:
        files = [file for one in found if one.empty == empty for file in one.files]
        said, odd = import_files(
            folder,
            files,
            empty=empty,
            renamed=renamed,
            leave_out_unknown=leave_out_unknown,
            shapes=shapes,
        )
        merge_findings(findings, odd)
        lines += said
    if unused := Counter(findings.repairs.pop(NOTHING_TO_RENAME, [])):
        for name in (name for name, count in unused.items() if count == len(ways)):
            findings.repair(NOTHING_TO_RENAME, name)
    return lines, findings


def _nowhere(project: Project, found: Sequence[Pulled]) -> list[str]:
    """Return lines on pictures of pushed rounds that no server has, and that nobody has labelled yet."""
    there = frozenset[tuple[int, int]]()
    for one in found:
        if one.there is None:
            return []
        there |= one.there
    lines = []
    for number in sorted(frozenset[int]().union(*(one.rounds for one in project.pushed.values())) - {0}):
        gone = [
            image
            for image in project.sent.get(number, ())
            if (number, image) not in there
            and project.images[image].sent_in == number
            and project.images[image].state == "sent"
        ]
        if gone:
            lines.append(
                f"{number_of(len(gone), f'picture of round {number} is', f'pictures of round {number} are')} on no "
                f"server, never sent or deleted there; to send again: {program()} project push --round {number}"
            )
    return lines


def _name(tool: Tool, url: str, number: str) -> str:
    """Return the name of the folder for what a server has, which no other place has."""
    parts = urlsplit(url)
    where = f"{parts.netloc}{parts.path}".replace(":", "-").replace("/", "-")
    return f"{tool}-{where}-{number}"
