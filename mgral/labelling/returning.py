"""Returns of labels: files are read and checked together, and written to the ledger all or not at all."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from mgral.data.findings import Finding, Findings
from mgral.errors import InputError
from mgral.labelling.classes import name_today
from mgral.labelling.exchange.read import FormatName, labels_at, read_labels
from mgral.labelling.importing import Changes, changes_by, note_unused, source_name
from mgral.labelling.ledger import Line, new_line, writing
from mgral.labelling.records import ReturnedFile
from mgral.labelling.settings import Shapes, load_project_settings
from mgral.labelling.starting import digest_of, merge_findings, sent_finder, size_finder
from mgral.labelling.state import Project, project_lines, replay

NO_LABELS = Finding("files are no labels that can be read", "correct them, or leave them out")


def import_files(
    folder: Path,
    files: Sequence[Path],
    *,
    label_format: FormatName | None = None,
    empty: Literal["unknown", "checked"] = "unknown",
    renamed: Mapping[str, str],
    leave_out_unknown: bool = False,
    shapes: Shapes | None = None,
) -> tuple[list[str], Findings]:
    """Import files of labels into the project in a folder.

    Returns
    -------
    A line for each file that says what it changed, and what was odd.

    Raises
    ------
    FaultyDataError
        Where a file has a fault, with the faults of all files; then nothing is imported.
    """
    findings, lines = Findings(), []
    with writing(folder) as writer:
        settings, ledger = load_project_settings(folder), project_lines(folder)
        new_lines: list[Line] = []
        returned_files: list[ReturnedFile] = []
        for path in files:
            project, digest = replay([*ledger, *new_lines]), _digest(path, renamed)
            try:
                returned_file = read_labels(
                    path,
                    size_finder(project),
                    format=label_format,
                    shapes=shapes or settings.shapes,
                    empty=empty,
                    sent=sent_finder(project),
                    today=partial(_today, project, renamed),
                    leave_out_unknown=leave_out_unknown,
                )
            except InputError as error:
                if len(files) == 1:
                    raise
                findings.fault(NO_LABELS, str(error))  # those of the other files are named too
                continue
            returned_files.append(returned_file)
            merge_findings(findings, returned_file.findings)
            imported_before = project.imported.get(digest, set())
            changes = changes_by(
                project, returned_file, findings, renamed, leave_out_unknown, settings.conflicts, imported_before
            )
            note = "was imported before; " if imported_before else ""
            lines.append(f"{source_name(path)} ({returned_file.format}): {note}{_summary(changes)}")
            if changes.events:
                new_lines.append(new_line("labels", changes.events, source_name(path), digest))
        note_unused(renamed, returned_files, findings)
        findings.raise_faults("the labels", "")
        for line in new_lines:
            writer.add(line.what, line.events, line.file, line.sha256)
    return lines, findings


def _digest(path: Path, renamed: Mapping[str, str]) -> str:
    """Return the digest of the labels and of `renamed`: with other names of classes the same file has new content."""
    digest = digest_of(labels_at(path))
    return hashlib.sha256(f"{digest} {sorted(renamed.items())}".encode()).hexdigest() if renamed else digest


def _today(project: Project, renamed: Mapping[str, str], name: str) -> str:
    return name_today(project, renamed.get(name, name))


def _summary(changes: Changes) -> str:
    """Return how many labels of a file were new, corrected and so on, as text."""
    counts = {
        "new": changes.new,
        "corrected": changes.corrected,
        "of a second person": changes.added,
        "unchanged": changes.unchanged,
        "not checked": changes.untouched,
    }
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "no label"
    states = Counter(event.get("state") for event in changes.events)  # none where a label was there already
    other_states = ", ".join(f"{states[state]} {state}" for state in ("draft", "skipped") if states[state])
    return f"{summary}; of them {other_states}" if other_states else summary
