"""A stand-in for Label Studio's server: it answers as version 1.23.2 did, and fails when it is told to."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "eyJhbGciOi.eyJ0b2tlbl90eXBl.K63GO3aU7bypmt"
How = Literal["before", "after", "late", "busy", "strange", "elsewhere", "echo"]
"""The connection breaks before the request is done, or after; it is done too late; or the answer is 503, of another
version, names another address, or repeats the token."""


@dataclass
class StandIn:
    """What the server has, and how it behaves."""

    url: str = ""
    root: Path | None = None
    """Document root of the local files that it serves; None where it serves none."""
    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    storages: dict[int, dict[str, Any]] = field(default_factory=dict)
    uploads: dict[int, tuple[int, str, bytes]] = field(default_factory=dict)
    """Project, name and content of each."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request."""
    fault: Callable[[int, str, str], How | None] = lambda number, method, path: None
    """Says what goes wrong with a request, given its number from 0, its method and its path."""
    strange: bytes = b"{}"
    """What it answers as another version."""
    legacy: bool = True
    """Whether tokens that are valid for ever are taken."""
    background: bool = False
    """Whether tasks are imported in the background, as other editions do."""
    expires: int = 10**9
    """Requests for which a bought token is valid."""
    bought: list[int] = field(default_factory=list)
    """Requests that there had been when tokens were bought."""
    last: int = 0
    """The latest number that was given to anything."""

    def number(self) -> int:
        """Return a number that nothing has."""
        self.last += 1
        return self.last

    def of(self, project: int) -> list[dict[str, Any]]:
        """Return the tasks of a project in their order."""
        return [task for task in self.tasks.values() if task["project"] == project]

    def annotate(self, task: dict[str, Any], result: list[Any], by: int = 1, **more: Any) -> None:
        """Do what a person does with a task, and end it."""
        at = f"2026-11-30T10:00:{len(task['annotations']):02}.5Z"
        one = {"id": self.number(), "result": result, "completed_by": by, "was_cancelled": False}
        task["annotations"].append({**one, "created_at": at, "updated_at": at, "lead_time": 3.5, **more})

    def draft(self, task: dict[str, Any], result: list[Any]) -> None:
        """Begin a task as a person does."""
        at = "2026-11-30T10:00:00.5Z"
        one = {"id": self.number(), "user": "me@localhost.org", "created_ago": f"{time.time()} ago", "result": result}
        task["drafts"].append({**one, "lead_time": 2.0, "created_at": at, "updated_at": at, "annotation": None})


class AnswerError(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, status: int, detail: str, **errors: list[str]) -> None:
        super().__init__(detail)
        self.status = status
        said = {"id": "f00", "status_code": status, "version": "1.23.2", "detail": detail, "exc_info": None}
        self.body = {**said, "validation_errors": errors} if errors else said


@contextmanager
def stand_in(root: Path | None = None) -> Iterator[StandIn]:
    """Run the server until the end of the block."""
    here = StandIn(root=root)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 2**16  # header and body in one packet, or the other end waits for the second

        def handle_one(self) -> None:
            method, parts = self.command, urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            how = here.fault(len(here.asked), method, parts.path)
            here.asked.append((method, parts.path))
            if how == "before":
                self.close_connection = True
                return
            if how == "busy":
                self.reply(503, b"busy")
                return
            if how == "late":
                time.sleep(0.6)
            if how == "echo":
                said = f"You may not: {self.headers.get('Authorization')}"
                self.reply(403, json.dumps({"detail": said}).encode())
                return
            if how == "strange":
                self.reply(200, here.strange)
                return
            if how == "elsewhere":
                self.reply(301, b"", Location=f"https://label.example{self.path}")
                return
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            try:
                with lock:
                    status, found = self.respond(method, parts.path, query, body)
            except AnswerError as answer:
                status, found = answer.status, answer.body
            if how in ("after", "late"):
                self.close_connection = True
            else:
                self.reply(status, found if isinstance(found, bytes) else json.dumps(found).encode())

        do_GET = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815

        def reply(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def respond(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
            if path == "/api/version":
                return 200, {"release": "1.23.2", "label-studio-os-package": {"version": "1.23.2"}}
            if path == "/api/token/refresh":
                if json.loads(body) != {"refresh": PERSONAL}:
                    raise AnswerError(401, "Token is invalid")
                here.bought.append(len(here.asked))
                return 200, {"access": f"bought{len(here.bought)}"}
            self.authorize()
            for pattern, answer in ROUTES:
                if match := re.fullmatch(pattern, f"{method} {path}"):
                    return answer(here, [int(one) for one in match.groups()], query, self.headers, body)
            raise AnswerError(404, "Not Found")

        def authorize(self) -> None:
            scheme, _, value = (self.headers.get("Authorization") or "").partition(" ")
            bought = scheme == "Bearer" and here.bought and value == f"bought{len(here.bought)}"
            if bought and len(here.asked) - here.bought[-1] <= here.expires:
                return
            if scheme != "Token" or value != TOKEN or not here.legacy:
                raise AnswerError(401, "Invalid token.")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        here.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield here
        finally:
            listening.shutdown()
            thread.join()


def _project(here: StandIn, number: int) -> dict[str, Any]:
    if number not in here.projects:
        raise AnswerError(404, "No Project matches the given query.")
    return here.projects[number]


def _list_projects(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    page, size = int(query["page"]), int(query["page_size"])
    found = [*reversed(here.projects.values())]
    results = [
        {key: one[key] for key in query["include"].split(",")} for one in found[(page - 1) * size : page * size]
    ]
    following = f"{here.url}/api/projects?page={page + 1}" if len(found) > page * size else None
    return 200, {"count": len(found), "next": following, "previous": None, "results": results}


def _make_project(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    values = json.loads(body)
    if not 3 <= len(values["title"]) <= 50:
        raise AnswerError(400, "Validation error", title=["Ensure this field has 3 to 50 characters."])
    number = here.number()
    here.projects[number] = {"id": number, "description": "", "model_version": "", **values}
    return 201, here.projects[number]


def _get_project(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    return 200, _project(here, *numbers)


def _patch_project(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    _project(here, *numbers).update(json.loads(body))
    return 200, _project(here, *numbers)


def _list_tasks(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    _project(here, int(query["project"]))
    page, size = int(query.get("page", 1)), int(query["page_size"])
    found = here.of(int(query["project"]))
    shown = found[(page - 1) * size : page * size]
    if page > 1 and not shown:
        raise AnswerError(404, "Invalid page.")
    wanted = query["include"].split(",")
    tasks = [{key: one[key] for key in wanted if key in one} for one in shown]
    return 200, {"total_annotations": 0, "total_predictions": 0, "total": len(found), "tasks": tasks}


def _import(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    (project,) = numbers
    _project(here, project)
    if headers["Content-Type"].startswith("multipart/form-data"):
        return _upload(here, project, query, headers, body)
    tasks = json.loads(body)
    for one in tasks:
        at = "2026-11-29T10:00:00.5Z"
        task = {"id": here.number(), "project": project, "annotations": [], "drafts": [], "predictions": [], **one}
        here.tasks[task["id"]] = {**task, "created_at": at, "updated_at": at}
    return 201, {"import": 1} if here.background else {"task_count": len(tasks)}


def _upload(here: StandIn, project: int, query: dict[str, str], headers: Any, body: bytes) -> Any:
    assert query["commit_to_project"] == "false", "each picture would be a task of its own"
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body
    )
    files = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
    ids = []
    for part in files.values():
        name = unquote(part.get_filename())
        if not name.lower().endswith((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")):
            raise AnswerError(
                400, "Validation error", non_field_errors=[f"{Path(name).suffix} extension is not supported"]
            )
        kept = re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))
        ids.append(here.number())
        content = part.get_payload(decode=True)
        here.uploads[ids[-1]] = project, f"upload/{project}/{ids[-1]:08x}-{kept}", content
    return 201, {"task_count": len(ids), "file_upload_ids": ids}


def _list_uploads(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    assert query["all"] == "true"
    found = ((number, *one) for number, one in here.uploads.items() if one[0] == numbers[0])
    return 200, [{"id": number, "file": name, "size": len(content)} for number, _, name, content in found]


def _list_storages(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    return 200, [one for one in here.storages.values() if one["project"] == int(query["project"])]


def _make_storage(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    values = json.loads(body)
    place = Path(values["path"])
    if here.root is None:
        raise AnswerError(400, "Validation error", non_field_errors=["Serving local files can be a security risk"])
    if not place.exists():
        raise AnswerError(400, "Validation error", non_field_errors=[f'Absolute local path "{place}" does not exist'])
    if here.root not in place.parents:
        raise AnswerError(
            400, "Validation error", non_field_errors=[f'"{place}" must be a subdirectory of {here.root}']
        )
    number = here.number()
    here.storages[number] = {"id": number, **values}
    return 201, here.storages[number]


def _drop_storage(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    del here.storages[numbers[0]]
    return 204, b""


def _local_file(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    path = here.root / query["d"] if here.root else None
    if path is None:
        raise AnswerError(403, "Serving local files can be dangerous")
    known = any(one["use_blob_urls"] and Path(one["path"]) in path.parents for one in here.storages.values())
    if not known or not path.is_file():
        raise AnswerError(404, "")
    return 200, path.read_bytes()


def _list_people(here: StandIn, numbers: list[int], query: dict[str, str], headers: Any, body: bytes) -> Any:
    return 200, [{"id": 1, "email": "me@localhost.org", "username": ""}]


def address(here: StandIn, name: str) -> bytes:
    """Return the content of an uploaded picture by the address in a task."""
    (content,) = [one for _, file, one in here.uploads.values() if f"/data/{quote(file)}" == name]
    return content


ROUTES = [
    (r"GET /api/projects", _list_projects),
    (r"POST /api/projects", _make_project),
    (r"GET /api/projects/(\d+)", _get_project),
    (r"PATCH /api/projects/(\d+)", _patch_project),
    (r"GET /api/tasks", _list_tasks),
    (r"GET /api/users/", _list_people),
    (r"POST /api/projects/(\d+)/import", _import),
    (r"GET /api/projects/(\d+)/file-uploads", _list_uploads),
    (r"GET /api/storages/localfiles", _list_storages),
    (r"POST /api/storages/localfiles", _make_storage),
    (r"DELETE /api/storages/localfiles/(\d+)", _drop_storage),
    (r"GET /data/local-files/", _local_file),
]
