"""Whether the strategy of a project is better than drawing at random, by the controls among its batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mgral.artefacts.files import read_json, write_json
from mgral.artefacts.seeds import derive_seed
from mgral.config import load_config
from mgral.data.findings import Findings
from mgral.data.formats.project import complete
from mgral.data.formats.snapshot import Snapshot
from mgral.errors import InputError, number_of, program
from mgral.evaluation.difference import Arm, Difference, difference, measured_scores
from mgral.labelling.experiments.comparing import (
    SCORES,
    Experiment,
    Plan,
    changed_since,
    has_test_set,
    open_experiment,
    refuse_damaged,
)
from mgral.labelling.opening import CONFIG, round_folder
from mgral.labelling.settings import FILE, ProjectSettings, load_project_settings
from mgral.labelling.state import Project, load_project
from mgral.labelling.status import IMPORT

KIND = "control"
REPEATS = 5
LEAST = 10
"""Fewest labelled pictures of each kind for a comparison."""
NO_AUDIT = (
    "detectors are compared on the audit set, and there is none: set `audit` in project.yaml before the first round, "
    f"or begin a project with a test set ({program()} project init --test-pictures)"
)
AUDIT_OUT = (
    "detectors are compared on the audit set, and nothing of it is labelled; label it first: "
    f"{program()} project {IMPORT}"
)


@dataclass(frozen=True)
class Kinds:
    """The labelled images of a project by how they came into it."""

    before: tuple[int, ...]
    """Images that were not sent in the first round with controls or later."""
    chosen: tuple[int, ...]
    """Images that the strategy chose in rounds with controls."""
    controls: tuple[int, ...]
    """Images that were drawn at random in these rounds."""

    @property
    def learnt(self) -> int:
        """How many of either kind a detector learns: half of the smaller kind."""
        return min(len(self.chosen), len(self.controls)) // 2


def kinds_of(project: Project, images: Sequence[int]) -> Kinds:
    """Return labelled images by kind; those of later batches without controls are of none."""
    first = min(project.controls, default=0)
    later = {image for number, sent in project.sent.items() if number >= max(first, 1) for image in sent}
    chosen, controls = (
        {image for number in project.controls for image in kind.get(number, ())}
        for kind in (project.chosen, project.controls)
    )
    sorted_images = sorted(images)
    return Kinds(
        tuple(image for image in sorted_images if image not in later),
        tuple(image for image in sorted_images if image in chosen),
        tuple(image for image in sorted_images if image in controls),
    )


def parts(kinds: Kinds, images: Sequence[int], repeats: int) -> tuple[tuple[int, ...], ...]:
    """Return what each detector does not learn: in turn, one learns a part of what was chosen, one of the controls.

    Each part is drawn again, uniformly and without replacement.
    """
    rng = np.random.default_rng(derive_seed(0, "control", "parts"))
    without = []
    for _ in range(repeats):
        for images_of_kind in (kinds.chosen, kinds.controls):
            learnt = {*kinds.before, *rng.choice(images_of_kind, kinds.learnt, replace=False).tolist()}
            without.append(tuple(sorted(set(images) - learnt)))
    return tuple(without)


def run_control(
    folder: Path,
    repeats: int | None = None,
    *,
    cores: str | None = None,
    profile: Path | None = None,
    snakemake_options: Sequence[str] = (),
) -> tuple[list[str], Findings]:
    """Compare the strategy with the controls, or go on with the comparison that was begun; see `run_round`.

    Parameters
    ----------
    repeats
        Detectors of each kind; `REPEATS` unless given.

    Returns
    -------
    Lines that say what was found, and what was odd about the pictures.

    Raises
    ------
    InputError
        Where there is no audit set, there are too few controls, or a comparison of other repeats was begun.
    """
    experiment = open_experiment(folder, KIND, _plan(repeats or REPEATS))
    snapshot = experiment.snapshot()
    if repeats is not None and len(snapshot.without) != 2 * repeats:
        raise InputError(
            f"{experiment.name} was begun with {len(snapshot.without) // 2} repeats and is not done; go on without "
            f"--repeats, or delete {experiment.own_folder} to start again"
        )
    if not experiment.done:
        targets = [experiment.detector(repetition) / "metrics.json" for repetition in range(len(snapshot.without))]
        experiment.run(targets, cores, profile, snakemake_options)
    with refuse_damaged(experiment):
        if not experiment.done:
            write_json(experiment.own_folder / SCORES, _scores(experiment, snapshot))
        return _lines(experiment, snapshot), experiment.findings


def _plan(repeats: int) -> Plan:
    def plan(settings: ProjectSettings, project: Project, snapshot: Snapshot) -> tuple[tuple[int, ...], ...]:
        if not snapshot.audit and not any(image.role for image in project.images.values()):
            raise InputError(NO_AUDIT)
        if not any(image.boxes for image in complete(snapshot.audit)):
            raise InputError(AUDIT_OUT)
        images = [image.id for image in complete(snapshot.labelled)]
        kinds = kinds_of(project, images)
        if min(len(kinds.chosen), len(kinds.controls)) < LEAST:
            hint = "" if settings.control else f"; set `control: 0.2` in {FILE}, for the next rounds"
            raise InputError(
                f"{number_of(len(kinds.chosen), 'labelled picture was', 'labelled pictures were')} chosen beside "
                f"{number_of(len(kinds.controls), 'that was', 'that were')} drawn as controls, and "
                f"{LEAST} of each are needed{hint}"
            )
        return parts(kinds, images, repeats)

    return plan


def _scores(experiment: Experiment, snapshot: Snapshot) -> dict[str, Any]:
    truth = read_json(experiment.results / "dataset" / "test.json")
    detections = [
        read_json(experiment.detector(repetition) / "detections.json") for repetition in range(len(snapshot.without))
    ]
    units = experiment.units([image["id"] for image in truth["images"]])
    chosen, controls, variance = measured_scores(truth, detections[::2], detections[1::2], units)
    kinds = kinds_of(load_project(experiment.folder), [image.id for image in complete(snapshot.labelled)])
    return {
        "name": experiment.name,
        "before": len(kinds.before),
        "learnt": kinds.learnt,
        "chosen": {"of": len(kinds.chosen), "map": chosen.tolist()},
        "controls": {"of": len(kinds.controls), "map": controls.tolist()},
        "audit": {"images": len(truth["images"]), "units": len(units), "variance": variance},
    }


def advantage(scores: dict[str, Any]) -> Difference:
    """Return by how much the strategy is better than the controls, given the content of scores.json."""
    arms = [
        Arm(np.array(scores[kind]["map"]), scores["learnt"] / scores[kind]["of"]) for kind in ("chosen", "controls")
    ]
    return difference(arms[0], arms[1], scores["audit"]["variance"], scores["audit"]["units"])


def _lines(experiment: Experiment, snapshot: Snapshot) -> list[str]:
    settings, project = load_project_settings(experiment.folder), load_project(experiment.folder)
    scores = read_json(experiment.own_folder / SCORES)
    learnt, kinds = scores["learnt"], (scores["chosen"], scores["controls"])
    counts, (chosen, drawn) = [kind["of"] for kind in kinds], (100 * float(np.mean(kind["map"])) for kind in kinds)
    where = "test set" if has_test_set(project) else "audit set"
    lines = [
        f"{experiment.name}: {len(snapshot.without) // 2} detectors learnt {learnt} of {counts[0]} chosen pictures, "
        f"and as many {learnt} of {counts[1]} controls, beside the {scores['before']} labelled before",
        f"on the {where} of {number_of(scores['audit']['images'], 'picture')}: mAP {chosen:.1f} % with chosen "
        f"pictures, {drawn:.1f} % with controls",
        verdict_line(_strategies(experiment.folder, project), advantage(scores)),
    ]
    if changed := len(changed_since(snapshot, settings, project)):
        lines.append(f"labels of {number_of(changed, 'picture')} have changed since it was opened")
    return lines


def _strategies(folder: Path, project: Project) -> str:
    """Return the strategies of the rounds with controls, which may differ from today's, as that of the first does."""
    configs = [load_config(round_folder(folder, number) / CONFIG) for number in sorted(project.controls)]
    return " and ".join(dict.fromkeys(name for config in configs for name in config.strategies))


def verdict_line(strategies: str, gain: Difference) -> str:
    """Return in plain words what can be told of the strategies that chose."""
    value, low, high = (100 * number for number in (gain.value, gain.low, gain.high))
    points = f"{value:+.1f} points of mAP, 95 % interval {low:+.1f} to {high:+.1f}"
    match gain.verdict:
        case "better":
            return f"choosing by {strategies} is better than drawing at random on your pictures: {points}"
        case "worse":
            return f"choosing by {strategies} is worse than drawing at random on your pictures: {points}"
        case _:
            return f"whether choosing by {strategies} is better than at random cannot be decided yet: {points}"
