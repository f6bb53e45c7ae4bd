"""What a project has done, and what comes next, as lines for a person."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import get_args

from mgral.data.findings import NAMED
from mgral.errors import number_of, program
from mgral.labelling.importing import disagreeing
from mgral.labelling.opening import usable_label
from mgral.labelling.records import CONFIRMED, State
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project

IMPORT = "import FILE (FILE: what your tool exported)"
ADD_CLASSES = "classes add NAME (NAME: a class; add each)"
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
    """Return how many pictures of the budget are used: those sent in a round, unless recalled without a label.

    A picture that is only sent to be checked again uses no budget.
    """
    sent = {image for number, images in project.sent.items() if number for image in images}
    return sum(project.images[image].state != "untouched" for image in sent)


def images_to_check(project: Project) -> dict[int, frozenset[int]]:
    """Return the images that must be checked again, and the classes that they were not looked through for."""
    missing_by_image = {}
    for number, image in project.images.items():
        label = image.confirmed
        if label is not None and image.state in CONFIRMED and (missing := project.incomplete(label)):
            missing_by_image[number] = missing
    return missing_by_image


def class_counts(
    settings: ProjectSettings, project: Project, missing: Collection[int] = (), role: str = ""
) -> Counter[int]:
    """Return the boxes of each class that a round would use, by id.

    They are those of training images or, for the role `audit`, of audit and test set.
    """
    counts: Counter[int] = Counter()
    roles = (role, "test") if role else (role,)
    for number, image in project.images.items():
        label = usable_label(project, image, settings.conflicts)
        if label is not None and number not in missing and image.role in roles:
            counts.update(box[4] for box in project.final_boxes(label))
    return counts


def status_lines(settings: ProjectSettings, project: Project, missing: Collection[int] = ()) -> list[str]:
    """Return lines on the state of a project: pictures by state, budget, classes, rounds, and what to check again.

    Parameters
    ----------
    missing
        Pictures that are not on disk, see `batches.missing_pictures`.
    """
    counts = project.counts()
    audit = [image for image in project.images.values() if image.role == "audit"]
    test = sum(image.role == "test" for image in project.images.values())
    labelled_count = sum(image.state in CONFIRMED for image in audit)
    lines = [f"project {settings.project}: {number_of(len(project.pictures), 'picture')}"]
    lines += [f"  {counts[state]:>7}  {state:<10} {WORDS[state]}" for state in get_args(State) if counts[state]]
    if missing:
        lines.append(
            f"missing: {number_of(len(missing), 'picture is', 'pictures are')} not on disk, and not used until back; "
            f"those that were renamed are found by: {program()} project scan"
        )
    lines.append(f"budget: {spent(project)} of {number_of(settings.budget, 'picture')} used")
    if audit:
        lines.append(f"audit set: {number_of(len(audit), 'picture')}, {labelled_count} labelled; never trained on")
    if test:
        lines.append(f"test set: {number_of(test, 'picture')}; never trained on")
    lines += _class_lines(settings, project, missing)
    for number in sorted(project.rounds):
        lines.append(_round_line(project, number))
    if disagreed := [
        project.files[number] for number in sorted(project.images) if disagreeing(project.images[number], project)
    ]:
        consequence = (
            "nobody's labels are used until one is corrected"
            if settings.conflicts == "leave_out"
            else "the latest is used"
        )
        remainder = f" and {len(disagreed) - NAMED} more" if len(disagreed) > NAMED else ""
        lines.append(
            f"people disagree on {number_of(len(disagreed), 'picture')}, and {consequence}: "
            f"{', '.join(disagreed[:NAMED])}{remainder}"
        )
    if to_check := images_to_check(project):
        names = {project.classes[class_id] for class_ids in to_check.values() for class_id in class_ids}
        lines.append(
            f"to check again: {number_of(len(to_check), 'picture was', 'pictures were')} labelled "
            f"before there was {', '.join(sorted(names))}; "
            f"write tasks for them in a new folder: {program()} project again again"
        )
    return lines


def next_step(settings: ProjectSettings, project: Project) -> str:
    """Return what a person does next with a project, as a line."""
    if not project.classes:
        return f"next: {program()} project {ADD_CLASSES}"
    if begun := project.rounds.keys() - project.sent.keys():
        command = "train" if begun <= project.trainings else "next"
        return f"next: {program()} project {command}, which goes on with the round that was begun"
    budget_used = spent(project) >= settings.budget
    step_after = (
        f"{program()} project train and {program()} project export, or raise `budget` in project.yaml"
        if budget_used
        else f"{program()} project next"
    )
    out_count = project.counts()["sent"]
    if out_count:
        pictures_out = number_of(out_count, "picture that is", "pictures that are")
        return f"next: {' and '.join(ways_back(project))}, for {pictures_out} out; then {step_after}"
    return f"next: {step_after}"


def ways_back(project: Project) -> list[str]:
    """Return the commands by which the labels of the latest round come back: by a server, once one was pushed to."""
    if not project.pushed:
        return [f"{program()} project {IMPORT}"]
    latest_round = max((number for number, images in project.sent.items() if images), default=0)
    is_pushed = any(latest_round in on_server.rounds for on_server in project.pushed.values())
    return [f"{program()} project pull"] if is_pushed else [f"{program()} project push", f"{program()} project pull"]


def _class_lines(settings: ProjectSettings, project: Project, missing: Collection[int]) -> Sequence[str]:
    if not project.classes:
        return ["classes: none yet"]
    trained, audited = (class_counts(settings, project, missing, role) for role in ("", "audit"))
    width = max(len(name) for name in project.classes.values())
    lines = [f"classes, with their boxes to train on and in the audit or test set:{'':>{max(0, width - 60)}}"]
    lines += [
        f"  {name:<{width}} {trained[class_id]:>7} {audited[class_id]:>7}"
        for class_id, name in project.classes.items()
    ]
    if split_ids := {class_id for class_id in trained if class_id not in project.classes}:
        lines.append(
            f"  {number_of(sum(trained[class_id] for class_id in split_ids), 'box is', 'boxes are')} of classes "
            "that were split since"
        )
    return lines


def _round_line(project: Project, number: int) -> str:
    if number in project.trainings:
        return f"round {number}: trains on all labels, chooses nothing" + (
            "" if number in project.sent else "; begun"
        )
    if number not in project.sent:
        return f"round {number}: opened, its batch is not made; go on: {program()} project next"
    images = [project.images[image] for image in project.of_round(number)]
    states = Counter(image.state for image in images)
    labelled_count = sum(states[state] for state in CONFIRMED)
    other_states = ", ".join(
        f"{states[state]} {state}" for state in ("sent", "draft", "skipped", "withdrawn") if states[state]
    )
    return f"round {number}: {number_of(len(images), 'picture')} sent, {labelled_count} labelled" + (
        f"; {other_states}" if other_states else ""
    )
