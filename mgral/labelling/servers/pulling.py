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
        urls, url = {target.url for target in project.pushed}, checked_url(url)
        if url not in urls:
            raise InputError(f"nothing was pushed to {url}, but to {', '.join(sorted(urls))}")
        project.pushed = {target: on_server for target, on_server in project.pushed.items() if target.url == url}
    lines: list[str] = []
    results: list[Pulled] = []
    # People may share a project there.
    servers = dict.fromkeys((target.tool, target.url, on_server.id) for target, on_server in project.pushed.items())
    for tool_name, server_url, number in servers:
        tool = next(known_tool for known_tool in get_args(Tool) if known_tool == tool_name)
        output = folder / PULLED / _folder_name(tool, server_url, number)
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StepError(
                f"{output} cannot be made ({error.strerror}); correct the permissions of the folder"
            ) from None
        results.append(connect(tool, server_url).pull(number, project, output))
        lines += results[-1].lines
    lines += _missing_pictures(project, results) if url is None else []
    findings = Findings()
    empty_values = sorted({result.empty for result in results})
    for empty in empty_values:
        files = [file for result in results if result.empty == empty for file in result.files]
        new_lines, new_findings = import_files(
            folder,
            files,
            empty=empty,
            renamed=renamed,
            leave_out_unknown=leave_out_unknown,
            shapes=shapes,
        )
        merge_findings(findings, new_findings)
        lines += new_lines
    if unused := Counter(findings.repairs.pop(NOTHING_TO_RENAME, [])):
        for name in (name for name, count in unused.items() if count == len(empty_values)):
            findings.repair(NOTHING_TO_RENAME, name)
    return lines, findings


def _missing_pictures(project: Project, results: Sequence[Pulled]) -> list[str]:
    """Return lines on pictures of pushed rounds that no server has, and that nobody has labelled yet."""
    pictures = frozenset[tuple[int, int]]()
    for result in results:
        if result.pictures is None:
            return []
        pictures |= result.pictures
    lines = []
    for number in sorted(frozenset[int]().union(*(on_server.rounds for on_server in project.pushed.values())) - {0}):
        gone = [
            image
            for image in project.sent.get(number, ())
            if (number, image) not in pictures
            and project.images[image].sent_in == number
            and project.images[image].state == "sent"
        ]
        if gone:
            lines.append(
                f"{number_of(len(gone), f'picture of round {number} is', f'pictures of round {number} are')} on no "
                f"server, never sent or deleted there; to send again: {program()} project push --round {number}"
            )
    return lines


def _folder_name(tool: Tool, url: str, number: str) -> str:
    """Return the name of the folder for what a server has, which no other place has."""
    parts = urlsplit(url)
    address = f"{parts.netloc}{parts.path}".replace(":", "-").replace("/", "-")
    return f"{tool}-{address}-{number}"
