"""Experiments of a project that train several detectors, each without some labels, and choose nothing.

They are no rounds: nothing of the project depends on them, and the ledger does not know them.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mgral.artefacts.files import read_json
from mgral.config import config_yaml, load_config
from mgral.data.findings import Findings
from mgral.data.formats.project import complete
from mgral.data.formats.snapshot import PICTURES, Snapshot, load_chunk, load_snapshot
from mgral.engine.run import run_snakemake
from mgral.errors import InputError, number_of, program
from mgral.evaluation.cross_validation import as_units
from mgral.labelling.experiments.copies import near_copies
from mgral.labelling.ledger import writing
from mgral.labelling.opening import (
    CONFIG,
    SNAPSHOT,
    check_config,
    comparing_config,
    make_snapshot,
    write_chunks,
    write_experiment,
)
from mgral.labelling.rounds import record_pictures
from mgral.labelling.running import MEANS
from mgral.labelling.settings import ProjectSettings, load_project_settings
from mgral.labelling.state import Project, load_project
from mgral.labelling.status import IMPORT

CHECK = "check"
"""Kind of those that check labels, see `mgral.labelling.experiments.checks`."""
SCORES = "scores.json"
"""What an experiment has shown, in its folder in the project's: written last."""


@dataclass
class Experiment:
    """An experiment that compares detectors."""

    folder: Path
    """Folder of the project."""
    name: str
    """Its kind and number, such as check1; also the name of its folder, and of its folder in results/."""
    findings: Findings = field(default_factory=Findings)
    """What the scan of the pictures found."""

    @property
    def own_folder(self) -> Path:
        """Folder of its snapshot, its configuration and its outcome."""
        return self.folder / self.name

    @property
    def results(self) -> Path:
        """Folder of what Snakemake makes of it."""
        return self.folder / "results" / self.name

    @property
    def done(self) -> bool:
        """Whether its outcome is there."""
        return (self.own_folder / SCORES).exists()

    def snapshot(self) -> Snapshot:
        """Read what it is computed from."""
        return load_snapshot(self.own_folder / SNAPSHOT)

    def detector(self, repetition: int) -> Path:
        """Return the folder of one of its detectors."""
        return self.results / f"seed{repetition}" / "initial" / "cycle0"

    def units(self, images: Sequence[int]) -> list[tuple[int, ...]]:
        """Return images in groups of near-copies, single images as groups of one: the units of the bootstrap."""
        settings, project = load_project_settings(self.folder), load_project(self.folder)
        groups = near_copies(
            self.folder, settings, project, images, load_config(self.own_folder / CONFIG).near_copies
        )
        return as_units(np.array(images, dtype=np.int64), groups)

    def run(
        self, targets: Sequence[Path], cores: str | None, profile: Path | None, snakemake_options: Sequence[str]
    ) -> None:
        """Make files of it by Snakemake; raises as `run_snakemake`."""
        paths = [str(path.relative_to(self.folder)) for path in targets]
        cores = cores or (None if profile else "all")
        config = Path(self.name, CONFIG)
        run_snakemake(self.folder, config, cores=cores, profile=profile, options=[*paths, *snakemake_options])


def latest(folder: Path, kind: str) -> Experiment | None:
    """Return the latest experiment of a kind in a project's folder."""
    matches = (re.fullmatch(rf"{kind}(\d+)", path.parent.name) for path in folder.glob(f"{kind}*/{SNAPSHOT}"))
    number = max((int(match[1]) for match in matches if match), default=0)
    return Experiment(folder, f"{kind}{number}") if number else None


Plan = Callable[[ProjectSettings, Project, Snapshot], tuple[tuple[int, ...], ...]]
"""Returns what each detector does not learn of a snapshot's labelled images."""


def open_experiment(folder: Path, kind: str, plan: Plan) -> Experiment:
    """Open an experiment on today's labels, or return the latest: an unfinished one, or one of the same labels.

    Raises
    ------
    InputError
        Where nothing is labelled, or the plan cannot be.
    """
    with writing(folder) as writer:
        settings, project, last = load_project_settings(folder), load_project(folder), latest(folder, kind)
        if last and not last.done:
            return last
        check_config(folder, settings, project)
        project, findings, missing = record_pictures(folder, writer, settings, project)
        snapshot = make_snapshot(settings, project, 0, write_chunks(folder, project), missing)
        if not complete(snapshot.labelled):
            raise InputError(
                f"no picture to learn from is labelled yet; import labels first: {program()} project {IMPORT}"
            )
        snapshot = replace(_without_pool(folder, snapshot), without=plan(settings, project, snapshot))
        if last and _is_same(
            last, snapshot, config_yaml(comparing_config(folder, settings, project, snapshot, last.name))
        ):
            return last
        matches = (re.fullmatch(rf"{kind}(\d+)", path.name) for path in folder.glob(f"{kind}*"))
        number = 1 + max((int(match[1]) for match in matches if match), default=0)
        opened = Experiment(folder, f"{kind}{number}", findings=findings)
        config = comparing_config(folder, settings, project, snapshot, opened.name)
        write_experiment(opened.own_folder, snapshot, config)
        return opened


def _without_pool(folder: Path, snapshot: Snapshot) -> Snapshot:
    """Return a snapshot of the labelled images alone, so that no job reads or decodes more than it needs."""
    labelled = {image.id for image in (*snapshot.labelled, *snapshot.audit)}
    chunks = {digest: load_chunk(folder / PICTURES / f"{digest}.json") for digest in snapshot.chunks}
    needed = {digest: {picture.id for picture in chunk} for digest, chunk in chunks.items()}
    needed = {digest: images for digest, images in needed.items() if images & labelled}
    left_out = set[int]().union(*needed.values()) - labelled
    return replace(snapshot, chunks=tuple(needed), left_out=tuple(sorted(left_out)))


def _is_same(last: Experiment, snapshot: Snapshot, config: bytes) -> bool:
    """Return whether an experiment would be of the same labels and settings: new pictures change nothing."""
    last_snapshot = last.snapshot()
    comparable = replace(snapshot, chunks=last_snapshot.chunks, left_out=last_snapshot.left_out)
    return last_snapshot == comparable and (last.own_folder / CONFIG).read_bytes() == config


@contextmanager
def refuse_damaged(experiment: Experiment) -> Iterator[None]:
    """Turn errors from damaged files of an experiment's outcome into an InputError with a remedy."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{experiment.own_folder / SCORES}, or a file in {experiment.results}, is damaged "
            f"({type(error).__name__}: {error}); delete what is damaged, or both folders, and run the command again"
        ) from error


def has_test_set(project: Project) -> bool:
    """Return whether a project is measured on a test set, and not on an audit set."""
    return any(image.role == "test" for image in project.images.values())


def changed_since(snapshot: Snapshot, settings: ProjectSettings, project: Project) -> set[int]:
    """Return the images whose labels are others today, or cannot be used any more."""
    snapshot_today = make_snapshot(settings, project, 0, ())
    today = {image.id: image for image in (*snapshot_today.labelled, *snapshot_today.audit)}
    return {image.id for image in (*snapshot.labelled, *snapshot.audit) if today.get(image.id) != image}


def cross_validated(folder: Path) -> dict[str, Any] | None:
    """Return what the latest check of the project in a folder has measured; None where none is done.

    Returns
    -------
    name and folds; held_out, of detectors on labelled pictures that they have not learnt, see `score_held_out`;
    audit, map and ap50 of the same detectors on the audit set, on average, see `score_several`, None where there is
    none.
    """
    last = latest(folder, CHECK)
    if last is None or not last.done:
        return None
    scores: dict[str, Any] = read_json(last.own_folder / SCORES)
    return scores


def cross_validated_lines(folder: Path, project: Project) -> list[str]:
    """Return the cross-validated score of a project as a line, or how to get one where it has no other."""
    try:
        if (scores := cross_validated(folder)) is not None:
            held_out = scores["held_out"]
            chosen = f"{number_of(held_out['images'], 'labelled picture')}, chosen and no random sample"
            return [f"cross-validation ({scores['name']}) on {chosen}: {score_words(held_out)}"]
    except (InputError, KeyError, TypeError, AttributeError):
        return [f"{SCORES} of the latest check is damaged; delete it, and measure again: {program()} project check"]
    if project.rounds and not any(image.role for image in project.images.values()):
        return [
            "there is no audit or test set; cross-validation measures by the labels there are: "
            f"{program()} project check"
        ]
    return []


def score_words(scores: Mapping[str, Any]) -> str:
    """Return AP50 and mAP with their intervals in percent, as `score_held_out` and `score_several` give them."""
    texts = [f"{name} {in_percent(scores[key])}" for key, name in MEANS.items() if scores[key]]
    return ", ".join(texts) or "no score: no object is labelled there"


def in_percent(value: Mapping[str, float], unit: str = " %") -> str:
    """Return a score and its interval."""
    return f"{100 * value['score']:.1f}{unit} ({100 * value['low']:.1f} to {100 * value['high']:.1f})"
