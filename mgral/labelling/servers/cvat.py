"""CVAT's server. Written from its SDK's schema; not tried on a server."""

import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cvat_sdk import models
from cvat_sdk.api_client.exceptions import ForbiddenException, NotFoundException
from cvat_sdk.core.helpers import DeferredTqdmProgressReporter
from cvat_sdk.core.uploading import DataUploader, Uploader

from mgral.compute.progress import tracked
from mgral.data.formats.safe_xml import XmlError, read_xml
from mgral.errors import InputError, number_of, program
from mgral.labelling.batch_files import PICTURES, TASKS, check_pictures
from mgral.labelling.classes import name_today
from mgral.labelling.names import Names
from mgral.labelling.servers.cvat_exports import (
    ANNOTATIONS,
    COMPLETED,
    SAVED,
    cut_export,
    export_job,
    is_current,
    read_saved,
    save,
)
from mgral.labelling.servers.cvat_session import Login, request_id_of, wait_until_done, wait_until_ended
from mgral.labelling.servers.interface import Pictures, Pulled, Pushed, Share
from mgral.labelling.state import Project

TO_CVAT = "CVAT 1.1"
"""Name of the format."""
PICTURES_PER_JOB = 20
"""Pictures in a job, the part of a task whose state a person sets to completed."""
QUALITY = 70
"""Quality, 1 to 100, of the copies that people see while they label: the SDK's own default."""
LONGEST_LABEL, LONGEST_NAME = 64, 256
RECALL = f"stays sent ({program()} project recall)"
REMOVED = f"picture was removed from its task there; it {RECALL}", f"pictures were removed there; each {RECALL}"
LACKING = (
    "picture of a completed job is not in what was exported",
    "pictures of completed jobs are in no export",
)
OTHERS = "picture there is not of this project; left out", "pictures there are not of this project; left out"
CHANGED = "job was changed while it was read; pull again", "jobs were changed while they were read; pull again"
Frame = tuple[str, bool]
"""Name of a picture in a task, in its order there, and whether it was removed from the task."""
_SHARE = re.compile(r", (round \d+(?:, person\d+)?|again [0-9a-f]{8})$")
"""The end of a task's name, which says whose pictures it has."""


@dataclass(frozen=True)
class _Tasks:
    """Tasks as they are written for CVAT."""

    end: str
    """The end of the task's name."""
    pictures: tuple[Path, ...]
    """Best first."""
    xml: ElementTree.Element
    """With today's names of the classes."""
    lost: int
    """Number of boxes that are left out, because their class was split since."""

    @property
    def names(self) -> set[str]:
        return {path.name for path in self.pictures}

    def of(self, names: Collection[str]) -> "_Tasks":
        """Return the tasks of the pictures with the given file names."""
        xml = deepcopy(self.xml)
        for image in xml.findall("image"):
            if image.get("name") not in names:
                xml.remove(image)
        return replace(self, pictures=tuple(path for path in self.pictures if path.name in names), xml=xml)


class Cvat:
    """A CVAT, through its SDK: a project there has the tasks of all rounds, one for each share of a round."""

    def __init__(self, login: Login) -> None:
        self._login = login

    @classmethod
    def from_environment(cls, url: str) -> "Cvat":
        """Return the CVAT at a URL; raises InputError where the environment has no login for it."""
        return cls(Login.from_environment(url))

    def push(self, share: Share, known: str | None, pictures: Pictures | None) -> Pushed:
        """Send what the server has not yet; see `Server`."""
        if pictures == "serve":
            raise InputError("CVAT reads no pictures from this disk; leave `--pictures serve` out, to upload them")
        tasks = _read_tasks(share)
        with self._login.session() as client:
            project = self._project(client, share, known)
            lines = [f"{tasks.lost} proposed boxes are left out: their class was split since"] if tasks.lost else []
            lines += _add_classes(project, share)
            wanted = _wanted(share, tasks)
            task = _find_task(client, project, tasks, wanted)
            is_new = task is None
            if task is None:
                if left_out := len(tasks.pictures) - len(wanted):
                    lines.append(
                        f"{number_of(left_out, 'picture was', 'pictures were')} not sent: labelled or "
                        "withdrawn by now"
                    )
                if not wanted:
                    return Pushed(str(project.id), 0, 0, tuple(lines))
                task = _make_task(client, project, share, tasks.of(wanted))
            tasks = tasks.of(_picture_names(task))
            lines += _add_boxes(client, task, tasks)
            jobs = len(_jobs(client, task_id=task.id))
            lines.append(f"{self._login.url}/tasks/{task.id}: {jobs} jobs; assign them to people there")
        count = len(tasks.pictures)
        return Pushed(str(project.id), count if is_new else 0, 0 if is_new else count, tuple(lines))

    def pull(self, known: str, project: Project, output: Path) -> Pulled:
        """Save the pictures of all completed jobs, as `CVAT for images 1.1`; see `Server`."""
        names = Names(project)
        with self._login.session() as client:
            cvat_project = self._known_project(client, known, project)
            tasks = {task.id: task for task in cvat_project.get_tasks()}
            labels = {label.name for label in cvat_project.get_labels()}
            frames_by_task = {number: _frames(task) for number, task in tasks.items()}
            jobs = [job for job in _jobs(client, project_id=int(known)) if str(job.type) == "annotation"]
            done = [job for job in jobs if str(job.state) == COMPLETED and job.task_id in tasks]
            states = Counter(str(job.state) for job in jobs if str(job.state) != COMPLETED)
            unread = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            lines = [f"CVAT: {len(done)} of {len(jobs)} jobs are completed{unread and f', and not read: {unread}'}"]
            exports: dict[str, ElementTree.Element] = {}
            saved = read_saved(output / SAVED)
            notes = Counter[tuple[str, str]]()
            for job in tracked(done, "jobs", len(done), "job"):
                job_frames = frames_by_task[job.task_id][job.start_frame : job.stop_frame + 1]
                pictures = {name for name, removed in job_frames if not removed and len(names.find(name)) == 1}
                notes[REMOVED] += sum(removed for _, removed in job_frames)
                notes[OTHERS] += sum(not removed for _, removed in job_frames) - len(pictures)
                name = f"task{job.task_id}-job{job.id}.xml"
                root = saved.get(name)
                if root is None or not is_current(root, job, labels, pictures):  # an export takes seconds
                    root = export_job(client, job)
                if root is None:
                    notes[CHANGED] += 1
                else:
                    person = _end(tasks[job.task_id].name).partition(", ")[2]
                    exports[name] = cut_export(root, pictures, project, job, person)
                    notes[LACKING] += len(pictures) - len(exports[name].findall("image"))
            images = [
                _pictures_in_task(task.name, frames_by_task[number], project, names) for number, task in tasks.items()
            ]
        lines += [f"CVAT: {number_of(count, *note)}" for note, count in notes.items() if count]
        files = [output / SAVED] if exports else []
        for file in files:
            save(file, exports)
        return Pulled(tuple(files), "checked", tuple(lines), frozenset().union(*images))

    def _project(self, client: Any, share: Share, known: str | None) -> Any:
        """Return the project of a share: the known one, or the one whose name says so, or a new one."""
        if known is not None:
            return self._known_project(client, known, share.project)
        mark = _mark(share.project)
        cvat_projects = [
            cvat_project for cvat_project in client.projects.list(search=mark) if mark in cvat_project.name
        ]
        if cvat_projects:
            return min(cvat_projects, key=lambda cvat_project: cvat_project.id)
        labels = [_label_request(name) for name in share.project.classes.values()]
        name = f"{share.title[: LONGEST_NAME - len(mark) - 3]} ({mark})"
        return client.projects.create(models.ProjectWriteRequest(name=name, labels=labels))

    def _known_project(self, client: Any, known: str, project: Project) -> Any:
        """Return the project of a number; raises InputError where it is gone, or another's.

        Where a server began again, another project may have the number.
        """
        mark, names = _mark(project), Names(project)
        with suppress(NotFoundException, ForbiddenException):
            cvat_project = client.projects.retrieve(int(known))
            tasks = () if mark in cvat_project.name else cvat_project.get_tasks()
            if mark in cvat_project.name or any(
                _pictures_in_task(task.name, _frames(task), project, names) for task in tasks
            ):
                return cvat_project
        raise InputError(
            f"{self._login.url}/projects/{known}, which this project was pushed to, is not there any more, or this "
            f"login may not see it, or it is another's: its name has no {mark!r}, and no task has pictures of this "
            f"project. Use the right login, or make a new one: {program()} project push --anew"
        )


def _mark(project: Project) -> str:
    """Return the part of a name by which a project is found."""
    return f"mgral {project.id[:13]}"


def _end(name: str) -> str:
    """Return the end of a task's name, which says whose pictures it has; empty where somebody renamed it."""
    match = _SHARE.search(name)
    return match[1] if match else ""


def _pictures_in_task(
    title: str, frames: Sequence[Frame], project: Project, names: Names
) -> frozenset[tuple[int, int]]:
    """Return round and image number of each picture of the project in a task, given the task's name and frames."""
    candidates = (names.find(name) for name, _ in frames)
    images = [next(iter(numbers)) for numbers in candidates if len(numbers) == 1]
    end = _end(title)
    if end.startswith("round"):
        return frozenset((int(end.split(",")[0].removeprefix("round ")), image) for image in images)
    return frozenset((0 if end else project.images[image].sent_in or 0, image) for image in images)


def _read_tasks(share: Share) -> _Tasks:
    path = share.folder / TASKS / "cvat" / ANNOTATIONS
    try:
        xml = read_xml(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; bring the tasks back, or write them again") from None
    except XmlError as error:
        raise InputError(f"{path}: {error}; bring the tasks back as they were written") from None
    for name in share.project.classes.values():
        if len(name) > LONGEST_LABEL:
            raise InputError(f"class {name}: CVAT takes names of {LONGEST_LABEL} characters at most; rename it")
    pictures = tuple(share.folder / PICTURES / image.get("name", "") for image in xml.iterfind("image"))
    check_pictures(pictures, "the tasks")
    if not pictures:
        raise InputError(f"{path} names no picture; bring the tasks back as they were written")
    if (project_id := xml.findtext("meta/mgral/project")) != share.project.id:
        raise InputError(f"{path} is of another project ({project_id}); push it from there")
    lost, digest = 0, hashlib.sha256(ElementTree.tostring(xml)).hexdigest()[:8]
    for image in xml.iterfind("image"):
        for box in image.findall("box"):
            box.set("label", name_today(share.project, box.get("label", "")))
            if box.get("label") not in share.project.classes.values():
                image.remove(box)
                lost += 1
    person = f", {share.person}" if share.person else ""
    return _Tasks(f"round {share.round}{person}" if share.round else f"again {digest}", pictures, xml, lost)


def _wanted(share: Share, tasks: _Tasks) -> set[str]:
    """Return the file names of the pictures that are to be sent."""
    names = Names(share.project)
    return {name for name in tasks.names if any(share.wants(image) for image in names.find(name))}


def _label_request(name: str) -> Any:
    return models.PatchedLabelRequest(name=name, type="rectangle")


def _add_classes(project: Any, share: Share) -> list[str]:
    """Add the classes that a project lacks; return lines about labels that are none of ours."""
    labels = {label.name for label in project.get_labels()}
    classes = list(share.project.classes.values())
    if missing := [name for name in classes if name not in labels]:
        project.update(models.PatchedProjectWriteRequest(labels=[_label_request(name) for name in missing]))
    foreign = ", ".join(sorted(labels - set(classes)))
    return [f"labels there that are no classes of this project today: {foreign}"] if foreign else []


def _find_task(client: Any, project: Any, tasks: _Tasks, wanted: set[str]) -> Any:
    """Return the task on the server that an earlier push made for these tasks; None where there is none.

    It may lack pictures that were not wanted at that time. A task without pictures was left by an interrupted push.
    It is removed, because adding pictures to it later is not reliable.
    """
    cvat_tasks = project.get_tasks()
    for task in [task for task in cvat_tasks if _end(task.name) == tasks.end]:
        _await_jobs(client, task)
        task.fetch()
        if not _has_pictures(task):
            task.remove()
        elif wanted <= _picture_names(task) <= tasks.names:
            return task
        else:
            raise InputError(
                f"CVAT's task {task.id}, {task.name!r}, has other pictures than were written for it: somebody made "
                "it or changed it; give it another name there, and run the same command again"
            )
    if tasks.end.startswith("again"):  # of pictures that older tasks have too
        return None
    renamed = [task for task in cvat_tasks if not _end(task.name) and _has_pictures(task)]
    return next((task for task in renamed if _picture_names(task) == tasks.names), None)


def _has_pictures(task: Any) -> bool:
    return bool(getattr(task, "size", 0))  # there is none where there are no pictures


def _frames(task: Any) -> list[Frame]:
    """Return the pictures of a task, also the removed ones, in their order there."""
    if not _has_pictures(task):
        return []
    meta = task.get_meta()
    removed = set(meta.deleted_frames)
    return [(frame.name, index in removed) for index, frame in enumerate(meta.frames or ())]


def _picture_names(task: Any) -> set[str]:
    return {name for name, _ in _frames(task)}


def _await_jobs(client: Any, task: Any) -> None:
    """Wait for what the server still does for an earlier push."""
    for status in ("queued", "started"):
        answer, _ = client.api_client.requests_api.list(task_id=task.id, status=status)
        for job in answer.results:
            wait_until_ended(client, job.id, f"end {job.operation.type}")


def _make_task(client: Any, project: Any, share: Share, tasks: _Tasks) -> Any:
    title = share.title[: LONGEST_NAME - len(tasks.end) - 2]
    spec = models.TaskWriteRequest(
        name=f"{title}, {tasks.end}", project_id=project.id, segment_size=PICTURES_PER_JOB, overlap=0
    )
    task = client.tasks.create(spec)
    url = client.api_map.make_endpoint_url(task.api.create_data_endpoint.path, kwsub={"id": task.id})
    response = DataUploader(client).upload_files(
        url,
        list(tasks.pictures),
        pbar=DeferredTqdmProgressReporter({"disable": None}),  # none but on a terminal
        image_quality=QUALITY,
        sorting_method="predefined",
    )
    wait_until_done(client, request_id_of(response), "take the pictures")
    return task.fetch()


def _add_boxes(client: Any, task: Any, tasks: _Tasks) -> list[str]:
    """Upload the proposed boxes, unless there are some or somebody began; return a line where they are left out."""
    if tasks.xml.find("image/box") is None:
        return []
    annotations = task.get_annotations()
    if any(annotations.get(kind) for kind in ("shapes", "tracks", "tags")):
        return []
    if any((str(job.state), str(job.stage)) != ("new", "annotation") for job in _jobs(client, task_id=task.id)):
        return ["the proposed boxes are not there, and somebody began: they are left out"]
    url = client.api_map.make_endpoint_url(task.api.create_annotations_endpoint.path, kwsub={"id": task.id})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ANNOTATIONS
        ElementTree.ElementTree(tasks.xml).write(path, encoding="utf-8", xml_declaration=True)
        params = {"format": TO_CVAT, "filename": path.name}
        response = Uploader(client).upload_file(url, path, meta={"filename": path.name}, query_params=params)
    wait_until_done(client, request_id_of(response), "take the proposed boxes")
    return []


def _jobs(client: Any, **filters: Any) -> Sequence[Any]:
    return sorted(client.jobs.list(**filters), key=lambda job: job.id)
