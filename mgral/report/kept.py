"""Keeps a finished report while a job makes a new one: engines delete the outputs of a job before they start it."""

import os
import shutil
from pathlib import Path

from mgral.artefacts.files import atomic_path
from mgral.artefacts.integrity import RECORDS

ASIDE = ".report"
"""Folder with the copy, beside the report."""
PAGE = "report.html"
PARTS = (PAGE, "figures", "tables")
PARTIAL = "partial"
"""Folder of the report of what there is while some is missing, beside the finished one."""


def keep_report(folder: Path) -> None:
    """Put a copy of the report in a folder aside, if there is one, before a run that may renew it."""
    bring_back_report(folder)
    if not (folder / PAGE).exists():
        return
    with atomic_path(folder / ASIDE) as copy:
        copy.mkdir()
        for part in PARTS:
            if (folder / part).is_dir():
                shutil.copytree(folder / part, copy / part)
            elif (folder / part).exists():
                shutil.copy2(folder / part, copy / part)


def bring_back_report(folder: Path) -> list[Path]:
    """Restore the copy if the report is missing, delete the copy, and return the restored paths.

    The page gets a time of change in 1970, so that no engine takes it for up to date.
    """
    copy = folder / ASIDE
    restored = []
    if copy.exists() and not (folder / PAGE).exists():
        for part in reversed(PARTS):  # the page last: while it is missing, this is not done
            if (copy / part).exists():
                shutil.rmtree(folder / part, ignore_errors=True)
                (copy / part).replace(folder / part)
                restored.append(folder / part)
        os.utime(folder / PAGE, (1, 1))
    shutil.rmtree(copy, ignore_errors=True)
    return restored


def remove_partial_report(folder: Path) -> None:
    """Remove the partial report and its record, once there is a complete one."""
    for part in (folder / PARTIAL, folder / RECORDS / PARTIAL):
        shutil.rmtree(part, ignore_errors=True)
