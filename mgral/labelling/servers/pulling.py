"""Labels come from the servers that batches were pushed to, and are imported as files are."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from mgral.data.findings import Findings
from mgral.errors import InputError, StepError
from mgral.labelling.returning import import_files
from mgral.labelling.servers.interface import Pulled, Tool
from mgral.labelling.servers.pushing import Connect, connect
from mgral.labelling.settings import Shapes
from mgral.labelling.starting import merge_findings
from mgral.labelling.state import load_project

PULLED = "pulled"
"""Folder of what servers said, below the project's; replaced by each pull."""


def pull(
    folder: Path,
    *,
    renamed: Mapping[str, str],
    leave_out_unknown: bool = False,
    shapes: Shapes | None = None,
    connect: Connect = connect,
) -> tuple[list[str], Findings]:
    """Save what all servers have that this project was pushed to, and import it; see `import_files`.

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
            "nothing was pushed from here; push first (mgral project push), or: mgral project import FILE"
        )
    lines: list[str] = []
    found: list[Pulled] = []
    # People may share a project there.
    servers: dict[tuple[str, str, str], frozenset[int]] = {}
    for place, there in project.pushed.items():
        key = place.tool, place.url, there.id
        servers[key] = servers.get(key, frozenset()) | there.rounds
    for (name, url, number), rounds in servers.items():
        tool = next(one for one in get_args(Tool) if one == name)
        output = folder / PULLED / _name(tool, url, number)
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StepError(f"{output} cannot be made ({error.strerror}); mend the rights of the folder") from None
        found.append(connect(tool, url).pull(number, project, rounds, output))
        lines += found[-1].lines
    findings = Findings()
    for empty in sorted({one.empty for one in found}):
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
    return lines, findings


def _name(tool: Tool, url: str, number: str) -> str:
    """Return the name of the folder for what a server has, which no other place has."""
    parts = urlsplit(url)
    where = f"{parts.netloc}{parts.path}".replace(":", "-").replace("/", "-")
    return f"{tool}-{where}-{number}"
