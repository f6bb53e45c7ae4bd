"""What a project has done, and what comes next, as lines for a person."""

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from mgral.data.findings import NAMED
from mgral.labelling.importing import disagreeing
from mgral.labelling.records import CONFIRMED, State
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project

WORDS: dict[State, str] = {
    "untouched": "nobody was asked for them",
    "sent": "in a batch, not back yet",
    "draft": "begun by a person, not finished",
    "skipped": "a person decided not to label them",
    "empty": "checked, without objects",
    "labelled": "labelled",
    "withdrawn": "taken out of the project",
}


def spent(project: Project) -> int:
    """Return how many images of the budget are used: all that were sent and not called back without a label.

    A second look at one that was labelled already, which is sent in no round, uses none.
    """
    sent = {image for number, images in project.sent.items() if number for image in images}
    return sum(project.images[image].state != "untouched" for image in sent)


def again(project: Project) -> dict[int, frozenset[int]]:
    """Return the images that must be checked again, and the classes that they were not looked through for."""
    found = {}
    for number, image in project.images.items():
        label = image.confirmed
        if label is not None and image.state in CONFIRMED and (missing := project.incomplete(label)):
            found[number] = missing
    return found


def class_counts(project: Project, role: str = "") -> Counter[int]:
    """Return the number of confirmed boxes of each class, by id, of images with a role (empty: to train on)."""
    counts: Counter[int] = Counter()
    for image in project.images.values():
        if (image.role == role or (role == "audit" and image.role == "test")) and image.state in CONFIRMED:
            label = image.confirmed
            assert label is not None
            counts.update(box[4] for box in project.final_boxes(label))
    return counts


def status_lines(settings: ProjectSettings, project: Project) -> list[str]:
    """Return what a person wants to know of a project: pictures by state, classes, rounds, what comes next."""
    counts = project.counts()
    audit = [image for image in project.images.values() if image.role == "audit"]
    test = sum(image.role == "test" for image in project.images.values())
    back = sum(image.state in CONFIRMED for image in audit)
    lines = [f"project {settings.project}: {len(project.pictures)} pictures"]
    lines += [f"  {counts[state]:>7}  {state:<10} {WORDS[state]}" for state in get_args(State) if counts[state]]
    lines.append(f"budget: {spent(project)} of {settings.budget} pictures used")
    if audit:
        lines.append(f"audit set: {len(audit)} pictures, {back} labelled; never trained on")
    if test:
        lines.append(f"test set: {test} pictures; never trained on")
    lines += _class_lines(project)
    for number in sorted(project.rounds):
        lines.append(_round_line(project, number))
    if disagreed := [
        project.files[one] for one in sorted(project.images) if disagreeing(project.images[one], project)
    ]:
        used = (
            "nobody's labels are used until one is corrected"
            if settings.conflicts == "leave_out"
            else "the latest is used"
        )
        more = f" and {len(disagreed) - NAMED} more" if len(disagreed) > NAMED else ""
        lines.append(
            f"people disagree on {len(disagreed)} pictures, and {used}: {', '.join(disagreed[:NAMED])}{more}"
        )
    if waiting := again(project):
        names = {project.classes[one] for missing in waiting.values() for one in missing}
        lines.append(
            f"to check again: {len(waiting)} pictures were labelled before there was {', '.join(sorted(names))}; "
            "write tasks for them: mgral project again FOLDER"
        )
    return lines


def next_step(settings: ProjectSettings, project: Project) -> str:
    """Return what a person does next with a project, as a line."""
    if not project.classes:
        return "next: mgral project classes add NAME"
    if begun := project.rounds.keys() - project.sent.keys():
        command = "train" if begun <= project.trainings else "next"
        return f"next: mgral project {command}, which goes on with the round that was begun"
    used = spent(project) >= settings.budget
    after = (
        "mgral project train and mgral project export, or raise `budget` in project.yaml"
        if used
        else "mgral project next"
    )
    out = project.counts()["sent"]
    if out:
        return f"next: {' and '.join(ways_back(project))}, for the {out} pictures that are out; then {after}"
    return f"next: {after}"


def ways_back(project: Project) -> list[str]:
    """Return the commands by which the labels of the latest round come back: by a server, once one was pushed to."""
    if not project.pushed:
        return ["mgral project import FILE"]
    latest = max((number for number, images in project.sent.items() if images), default=0)
    there = any(latest in one.rounds for one in project.pushed.values())
    return ["mgral project pull"] if there else ["mgral project push", "mgral project pull"]


def _class_lines(project: Project) -> Sequence[str]:
    if not project.classes:
        return ["classes: none yet; add them: mgral project classes add NAME"]
    trained, audited = class_counts(project), class_counts(project, "audit")
    width = max(len(name) for name in project.classes.values())
    lines = [f"classes, with their boxes to train on and in the audit or test set:{'':>{max(0, width - 60)}}"]
    lines += [
        f"  {name:<{width}} {trained[number]:>7} {audited[number]:>7}" for number, name in project.classes.items()
    ]
    if split := {number for number in trained if number not in project.classes}:
        lines.append(f"  {sum(trained[number] for number in split)} boxes are of classes that were split since")
    return lines


def _round_line(project: Project, number: int) -> str:
    if number in project.trainings:
        return f"round {number}: trains on all labels, chooses nothing" + (
            "" if number in project.sent else "; begun"
        )
    if number not in project.sent:
        return f"round {number}: opened, its batch is not made; go on: mgral project next"
    images = [project.images[image] for image in project.sent[number]]
    states = Counter(image.state for image in images)
    done = sum(states[state] for state in CONFIRMED)
    rest = ", ".join(
        f"{states[state]} {state}" for state in ("sent", "draft", "skipped", "withdrawn") if states[state]
    )
    return f"round {number}: {len(images)} pictures sent, {done} labelled" + (f"; {rest}" if rest else "")
