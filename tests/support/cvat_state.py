"""What a stand-in for CVAT's server has and does, by the names that the SDK has for it; see cvat_server.py."""

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from cvat_sdk.api_client import Configuration
from cvat_sdk.api_client.model_utils import validate_and_convert_types
from PIL import Image

TOKEN, USER, PASSWORD = "a-token-that-nobody-may-see", "anna", "a-password-that-nobody-may-see"
Row = dict[str, Any]
Fault = int | str | Callable[[], None]
"""A status; or `drop` (no answer), `lost` (it is done, and not answered), `stall`, `page` (of a browser), `other` (of
another version), `elsewhere` (another address), `cut` (half of the answer); or something that happens before the
request is answered as usual."""


class RefusalError(Exception):
    """An answer that is no success: its status, and what it says."""


@dataclass
class Call:
    """A request: to which endpoint of the SDK, and with what."""

    endpoint: Any
    where: Row
    """Parts of the path, such as the number of a task."""
    query: dict[str, str]
    headers: Any
    body: bytes

    def sent(self, name: str) -> Row:
        """The body, which must fit the SDK's type of that parameter."""
        return checked(json.loads(self.body), self.endpoint.openapi_types[name])


@dataclass
class CvatServer:
    """The server: what it has, what was asked of it, and what it will do wrong."""

    url: str
    projects: dict[int, Row] = field(default_factory=dict)
    tasks: dict[int, Row] = field(default_factory=dict)
    jobs: dict[int, Row] = field(default_factory=dict)
    requests: dict[str, Row] = field(default_factory=dict)
    work: dict[str, Callable[[Row], None]] = field(default_factory=dict)
    """What background jobs have still to do."""
    frames: dict[int, list[Row]] = field(default_factory=dict)
    """Of each task: name, size, and boxes."""
    uploads: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """The requests that changed something."""
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    """A regular expression of a request such as `#3 POST /api/tasks`, and what happens once in the place of it."""
    workers: str = "run"
    """`run`, `rest` or `fail`."""
    page: int = 10
    organizations: set[str | None] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    """What in requests and answers does not fit the schema."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    # People's part.

    def label(self, name: str, boxes: list[tuple[float, float, float, float, str]], by: str = "manual") -> None:
        """Somebody draws the boxes of a picture (x, y, width, height, label), in place of those there are."""
        for task, frames in self.frames.items():
            for frame in frames:
                if frame["name"] == name:
                    frame["boxes"] = [(*box, by) for box in boxes]
                    self._touch(task, frames.index(frame))

    def set_job(self, number: int, **values: Any) -> None:
        """Somebody changes a job: state, stage, assignee."""
        self.jobs[number] |= values | {"updated_date": _now()}

    def remove_task(self, number: int) -> None:
        """Somebody deletes a task."""
        del self.tasks[number], self.frames[number]
        self.jobs = {key: job for key, job in self.jobs.items() if job["task_id"] != number}

    def jobs_of(self, task: int) -> list[Row]:
        return [job for job in self.jobs.values() if job["task_id"] == task]

    def shown(self, task: int) -> dict[str, list[Any]]:
        """The boxes of each picture of a task, in the order that people see."""
        return {frame["name"]: frame["boxes"] for frame in self.frames[task]}

    # The interface, by the names that the SDK has for it.

    def retrieve_about(self, call: Call) -> Any:
        words = {"name": "CVAT", "description": "", "version": "2.80.0", "subtitle": ""}
        return {**words, "logo_url": f"{self.url}/logo.svg"}

    def create_login(self, call: Call) -> Any:
        given = call.sent("login_serializer_ex_request")
        if (given.get("username"), given["password"]) != (USER, PASSWORD):
            raise RefusalError(400, {"non_field_errors": ["Unable to log in with provided credentials."]})
        return {"key": "0" * 40}

    def retrieve_self(self, call: Call) -> Any:
        return {"id": 1, "username": USER, "url": f"{self.url}/api/users/1", "groups": ["user"]}

    def list_projects(self, call: Call) -> Any:
        return self._page(call, [one for one in self.projects.values() if call.query["search"] in one["name"]])

    def create_projects(self, call: Call) -> Any:
        given = call.sent("project_write_request")
        number = 1 + max(self.projects, default=6)
        self.projects[number] = {
            "id": number,
            "url": f"{self.url}/api/projects/{number}",
            "name": given["name"],
            "bug_tracker": given.get("bug_tracker", ""),
            "status": "annotation",
            "tasks": {"count": 0, "url": f"{self.url}/api/tasks?project_id={number}"},
            "labels": {"url": f"{self.url}/api/labels?project_id={number}"},
            "organization": None,
            "target_storage": None,
            "assignee": None,
            "created_date": _now(),
            "names": [one["name"] for one in given.get("labels", [])],
        }
        return self._public(self.projects[number])

    def retrieve_projects(self, call: Call) -> Any:
        return self._public(self._one(self.projects, call))

    def partial_update_projects(self, call: Call) -> Any:
        given, project = call.sent("patched_project_write_request"), self._one(self.projects, call)
        for label in given.pop("labels", []):
            if label["name"] in project["names"]:
                raise RefusalError(400, ["label names must be unique"])
            project["names"].append(label["name"])
        return self._public(project | given)

    def list_labels(self, call: Call) -> Any:
        project = self.projects[int(call.query["project_id"])]
        rows = [{"id": place, "name": name, "type": "rectangle"} for place, name in enumerate(project["names"], 1)]
        return self._page(call, rows)

    def list_tasks(self, call: Call) -> Any:
        number = int(call.query["project_id"])
        return self._page(call, [one for one in self.tasks.values() if one["project_id"] == number])

    def create_tasks(self, call: Call) -> Any:
        given = call.sent("task_write_request")
        if given["project_id"] not in self.projects:
            raise RefusalError(404, {"detail": "The specified project does not exist."})
        number = 1 + max(self.tasks, default=10)
        self.tasks[number] = {
            "id": number,
            "url": f"{self.url}/api/tasks/{number}",
            "name": given["name"],
            "project_id": given["project_id"],
            "segment_size": given["segment_size"],
            "overlap": given.get("overlap"),
            "jobs": {"count": 0, "completed": 0, "validation": 0, "url": f"{self.url}/api/jobs?task_id={number}"},
            "labels": {"url": f"{self.url}/api/labels?task_id={number}"},
            "mode": "",
            "status": "annotation",
            "organization": None,
            "target_storage": None,
            "assignee": None,
        }
        self.frames[number] = []
        return self.tasks[number]

    def retrieve_tasks(self, call: Call) -> Any:
        return self._one(self.tasks, call)

    def destroy_tasks(self, call: Call) -> Any:
        self.remove_task(self._one(self.tasks, call)["id"])

    def create_data(self, call: Call) -> Any:
        task = self._one(self.tasks, call)
        if task.get("size"):
            raise RefusalError(400, "Adding more data is not supported")
        if "Upload-Multiple" in call.headers:
            kind = f"Content-Type: {call.headers['Content-Type']}\r\n\r\n".encode()
            for part in message_from_bytes(kind + call.body, policy=policy.HTTP).iter_parts():
                if (name := part.get_filename()) is not None:
                    self.uploads[f"{task['id']}/{PurePosixPath(name).name}"] = part.get_payload(decode=True)
            return None
        if "Upload-Start" in call.headers:
            return None
        given = call.sent("data_request")
        return self._later("create:task", task["id"], lambda _: self._take_pictures(task, given))

    def _take_pictures(self, task: Row, given: Row) -> None:
        own = f"{task['id']}/"
        names = sorted(name.removeprefix(own) for name in self.uploads if name.startswith(own))
        if given.get("sorting_method") == "predefined":
            assert sorted(given["upload_file_order"]) == names
            names = given["upload_file_order"]
        sizes = [Image.open(io.BytesIO(self.uploads[own + name])).size for name in names]
        rows = [{"name": name, "size": size, "boxes": []} for name, size in zip(names, sizes, strict=True)]
        self.frames[task["id"]] = rows
        task |= {"size": len(names), "mode": "annotation", "dimension": "2d"}
        for start in range(0, len(names), task["segment_size"]):
            number = 1 + max(self.jobs, default=100)
            self.jobs[number] = {
                "id": number,
                "url": f"{self.url}/api/jobs/{number}",
                "task_id": task["id"],
                "project_id": task["project_id"],
                "type": "annotation",
                "state": "new",
                "stage": "annotation",
                "assignee": None,
                "start_frame": start,
                "stop_frame": min(start + task["segment_size"], len(names)) - 1,
                "issues": {"count": 0, "url": f"{self.url}/api/issues?job_id={number}"},
                "labels": {"url": f"{self.url}/api/labels?job_id={number}"},
                "updated_date": _now(),
                "target_storage": None,
            }

    def retrieve_data_meta(self, call: Call) -> Any:
        frames = [
            {"name": one["name"], "related_files": 0, "width": one["size"][0], "height": one["size"][1]}
            for one in self.frames[self._one(self.tasks, call)["id"]]
        ]
        removed = [place for place, one in enumerate(self.frames[int(call.where["id"])]) if one.get("deleted")]
        return {"chunks_updated_date": _now(), "frames": frames, "deleted_frames": removed, "size": len(frames)}

    def create_annotations(self, call: Call) -> Any:
        task = self._one(self.tasks, call)
        if "Upload-Finish" not in call.headers:
            return None
        assert call.query["format"] == "CVAT 1.1"
        content = self.uploads[call.query["filename"]]
        return self._later("import:annotations", task["id"], lambda _: self._take_boxes(task, content))

    def _take_boxes(self, task: Row, content: bytes) -> None:
        frames = {PurePosixPath(one["name"]).stem: one for one in self.frames[task["id"]]}
        for image in ElementTree.fromstring(content).iterfind("image"):
            frame = frames[PurePosixPath(image.get("name")).stem]
            frame["boxes"] = []
            for box in image.iterfind("box"):
                if box.get("label") not in self.projects[task["project_id"]]["names"]:
                    raise ValueError(f"Failed to find label {box.get('label')}")
                left, top, right, bottom = (float(box.get(key)) for key in ("xtl", "ytl", "xbr", "ybr"))
                frame["boxes"].append((left, top, right - left, bottom - top, box.get("label"), "file"))

    def retrieve_annotations(self, call: Call) -> Any:
        task = self._one(self.tasks, call)
        names = self.projects[task["project_id"]]["names"]
        shapes = [
            {
                "type": "rectangle",
                "label_id": 1 + names.index(label),
                "frame": place,
                "points": [x, y, x + width, y + height],
                "source": source,
            }
            for place, frame in enumerate(self.frames[task["id"]])
            for x, y, width, height, label, source in frame["boxes"]
        ]
        return {"version": 0, "tags": [], "shapes": shapes, "tracks": []}

    def list_jobs(self, call: Call) -> Any:
        key = "task_id" if "task_id" in call.query else "project_id"
        return self._page(call, [one for one in self.jobs.values() if one[key] == int(call.query[key])])

    def retrieve_jobs(self, call: Call) -> Any:
        return self._one(self.jobs, call)

    def create_dataset_export(self, call: Call) -> Any:
        job = self._one(self.jobs, call)
        assert call.query["format"] == "CVAT for images 1.1"
        assert call.query["save_images"] in ("False", "false")

        def export(request: Row) -> None:
            self.uploads[f"export{job['id']}"] = self._export(job)
            request["result_url"] = f"{self.url}/api/jobs/{job['id']}/dataset/download"

        return self._later("export:annotations", job["task_id"], export)

    def list_requests(self, call: Call) -> Any:
        wanted = int(call.query["task_id"]), call.query["status"]
        rows = [one for one in self.requests.values() if (one["operation"]["task_id"], one["status"]) == wanted]
        return self._page(call, rows)

    def retrieve_requests(self, call: Call) -> Any:
        request = self._one(self.requests, call)
        if self.workers != "rest" and request["status"] in ("queued", "started"):
            request["status"] = "started" if request["status"] == "queued" else self._do(request)
        return request

    # What they share.

    def _export(self, job: Row) -> bytes:
        """Write a job as CVAT does, with much that nobody needs.

        Some versions left pictures of other jobs in, without their boxes, and removed ones; this one does so too.
        """
        root = ElementTree.Element("annotations")
        ElementTree.SubElement(root, "version").text = "1.1"
        meta = ElementTree.SubElement(root, "meta")
        about = ElementTree.SubElement(meta, "job")
        for key in ("id", "start_frame", "stop_frame"):
            ElementTree.SubElement(about, key).text = str(job[key])
        ElementTree.SubElement(about, "updated").text = "2001-01-01 10:00:00.000000+00:00"
        labels = ElementTree.SubElement(about, "labels")
        for name in self.projects[job["project_id"]]["names"]:
            ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
        owner = ElementTree.SubElement(about, "owner")
        ElementTree.SubElement(owner, "email").text = "anna@example.org"
        ElementTree.SubElement(meta, "dumped").text = _now()
        for place, frame in enumerate(self.frames[job["task_id"]]):
            inside = job["start_frame"] <= place <= job["stop_frame"]
            size = {"width": str(frame["size"][0]), "height": str(frame["size"][1])}
            image = ElementTree.SubElement(root, "image", {"id": str(place), "name": frame["name"], **size})
            for x, y, width, height, label, source in frame["boxes"] if inside else ():
                corners = {"xtl": x, "ytl": y, "xbr": x + width, "ybr": y + height}
                sides = {key: f"{value:.2f}" for key, value in corners.items()}
                ElementTree.SubElement(image, "box", {"label": label, "source": source, "occluded": "0", **sides})
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("annotations.xml", ElementTree.tostring(root))
        return file.getvalue()

    def _later(self, kind: str, task: int, work: Callable[[Row], None]) -> Row:
        number = f"rq{len(self.requests)}"
        operation = {"type": kind, "target": kind.partition(":")[2], "task_id": task}
        request = {"id": number, "status": "queued", "operation": operation, "created_date": _now(), "message": ""}
        self.requests[number], self.work[number] = request, work
        return {"rq_id": number}

    def _do(self, request: Row) -> str:
        try:
            assert self.workers == "run", "the disk is full"
            self.work[request["id"]](request)
        except (ValueError, AssertionError) as error:
            request["message"] = f"Traceback:\n  ...\n{error}"
            return "failed"
        return "finished"

    def _touch(self, task: int, place: int) -> None:
        for job in self.jobs_of(task):
            if job["start_frame"] <= place <= job["stop_frame"]:
                self.set_job(job["id"])

    def _one(self, rows: dict[Any, Row], call: Call) -> Row:
        number = call.where["id"]
        found = rows.get(int(number) if number.isdigit() else number)
        if found is None:
            raise RefusalError(404, {"detail": "Not found."})
        return found

    def _page(self, call: Call, rows: list[Row]) -> Row:
        number = int(call.query.get("page", 1))
        more = f"{self.url}/next" if number * self.page < len(rows) else None
        shown = [self._public(row) for row in rows[(number - 1) * self.page : number * self.page]]
        return {"count": len(rows), "next": more, "previous": None, "results": shown}

    def _public(self, row: Row) -> Row:
        return {key: value for key, value in row.items() if key != "names"}


def _now() -> str:
    time.sleep(0.001)  # so that two changes have two times
    return datetime.now(UTC).isoformat()


def checked(value: Any, schema: Any) -> Any:
    """Return a value that fits a type of the SDK, without keys that it has not; raises where it does not."""
    _no_more(value, validate_and_convert_types(value, schema, ["value"], True, True, configuration=Configuration()))
    return value


def _no_more(value: Any, model: Any) -> None:
    if isinstance(value, list):
        for one, other in zip(value, model, strict=True):
            _no_more(one, other)
    if isinstance(value, dict) and hasattr(model, "attribute_map"):
        names = {theirs: own for own, theirs in model.attribute_map.items()}
        for key, one in value.items():
            if key not in names:
                raise ValueError(f"{type(model).__name__} has no {key}")
            _no_more(one, model[names[key]])
