"""Label Studio's server, version 1.23: its projects, their tasks, and the labels that people gave."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mgral.artefacts.files import write_json
from mgral.compute.progress import tracked
from mgral.data.findings import NAMED
from mgral.data.values import whole
from mgral.errors import InputError, StepError, number_of, program
from mgral.labelling.batch_files import PICTURES
from mgral.labelling.exchange.label_studio_tasks import LOCAL_FILES, MODEL, label_config
from mgral.labelling.servers.interface import Pictures, Pulled, Pushed, Share
from mgral.labelling.servers.label_studio_interface import fitted_interface
from mgral.labelling.servers.label_studio_pictures import Picture, serve, upload
from mgral.labelling.servers.label_studio_tasks import key_of, picture_files, read_tasks
from mgral.labelling.servers.rest import TRIES, RefusedError, Rest, Token, UnsureError
from mgral.labelling.state import Project

VARIABLE = "LABEL_STUDIO_API_KEY"
"""Environment variable with the token."""
ORDER = "Sequential sampling"
"""Label Studio's setting for tasks in the order in which they were sent, the most useful first."""
SENT_AT_ONCE, KNOWN_AT_ONCE, READ_AT_ONCE = 100, 1000, 200
"""Tasks in a request: sent, listed, and read with all that people made of them."""
NEEDED = (
    *("id", "data", "annotations", "drafts", "result", "completed_by", "user", "annotation"),
    *("was_cancelled", "created_at", "updated_at", "lead_time"),
)
"""Keys that are read of tasks, their annotations and drafts; the texts of others change from hour to hour."""
_Json = Mapping[str, Any]


class LabelStudio:
    """A Label Studio, through its REST interface."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    @classmethod
    def from_environment(cls, url: str) -> "LabelStudio":
        """Return the server at a URL, with the token in LABEL_STUDIO_API_KEY; both kinds of its tokens will do.

        Raises
        ------
        InputError
            Where there is no token, or another server at the URL.
        StepError
            Where none answers.
        """
        value = os.environ.get(VARIABLE, "").strip()
        if not value:
            raise InputError(
                f"{VARIABLE} is not set: take a token from {url}/user/account, and put it into this variable of the "
                "environment"
            )
        if not value.isascii() or not value.isprintable() or " " in value:
            raise InputError(f"{VARIABLE} contains no token: it has spaces or other characters that no token has")
        with _explained(url):
            rest = Rest(url, Token("Token", value))
            if value.count(".") == 2:  # a personal access token, which buys others that are valid for minutes
                rest = _with_renewed_tokens(url, value)
            try:
                version = rest.get("/api/version")
            except RefusedError as refused:
                if refused.status != 404:
                    raise
                version = None
        if not isinstance(version, dict) or "label-studio-os-package" not in version:
            raise InputError(f"{url} is no Label Studio; correct --url: it is what a browser shows before /projects")
        return cls(rest)

    def push(self, share: Share, known: str | None, pictures: Pictures | None) -> Pushed:
        """Send what the server has not yet, see `Server.push`."""
        tasks, lines = read_tasks(share)
        with _explained(self._rest.url):
            number = known or self._find_project(share) or self._make_project(share)
            project = self._project(number, share.project)
            lines += self._fit_interface(project, share.project)
            key_counts = Counter(map(key_of, self._task_data(number, share.project).values()))
            unsent = [task for task in tasks if key_of(task["data"]) not in key_counts]
            wanted = [task for task in unsent if share.wants(task["data"]["mgral_id"])]
            if wanted:
                lines += self._place_pictures(number, share, wanted, pictures)
                self._send(number, share.project, wanted)
        if left_out := len(unsent) - len(wanted):
            lines.append(
                f"{number_of(left_out, 'picture was', 'pictures were')} not sent: labelled or withdrawn by now"
            )
        duplicates = sum(key_counts[key_of(task["data"])] > 1 for task in tasks)
        if duplicates:
            lines.append(
                f"{number_of(duplicates, 'picture is', 'pictures are')} there twice; delete the tasks that "
                "nobody has begun"
            )
        lines.append(f"{self._rest.url}/projects/{number}")
        return Pushed(number, len(wanted), len(tasks) - len(unsent), tuple(lines))

    def pull(self, known: str, project: Project, output: Path) -> Pulled:
        """Save all tasks of a project, with what people made of them, see `Server.pull`."""
        with _explained(self._rest.url):
            self._project(known, project)
            tasks = self._tasks(known, READ_AT_ONCE, {"fields": "all", "include": ",".join(NEEDED)}, "labels")
            people = self._people()
            own_tasks = [task for task in tasks.values() if _is_ours(task["data"], project)]
            others = [number for number, task in tasks.items() if not _is_ours(task["data"], project)]
            lines = []
            if others:
                listed = ", ".join(map(str, others[:NAMED])) + (" and others" if len(others) > NAMED else "")
                lines.append(
                    f"{len(others)} tasks of {self._rest.url}/projects/{known} were not sent from here, and are left "
                    f"out: {listed}"
                )
            file = output / "label_studio.json"
            write_json(file, [_with_drafts(task, people) for task in own_tasks])
            pictures = frozenset((key.round, key.image) for key in (key_of(task["data"]) for task in own_tasks))
            return Pulled((file,), "unknown", tuple(lines), pictures)

    def _find_project(self, share: Share) -> str | None:
        """Return the number of the server's project that contains a share, by the mark in its description."""
        mark, numbers, page = _mark(share), [], 1
        while True:
            answer = self._rest.get("/api/projects", {"page": page, "page_size": 100, "include": "id,description"})
            numbers += [
                str(project["id"]) for project in answer["results"] if mark in (project["description"] or "").split()
            ]
            if not answer["next"]:
                break
            page += 1
        if len(numbers) > 1:
            where = ", ".join(f"{self._rest.url}/projects/{number}" for number in numbers)
            raise InputError(f"several projects say that they are {mark}: {where}; take that out of all but one")
        return numbers[0] if numbers else None

    def _make_project(self, share: Share) -> str:
        title = f"{share.title} {share.person}".strip()[:50]
        values = {
            "title": title if len(title) > 2 else f"project {title}",
            "description": f"Sent and read by mgral, which finds it by this: {_mark(share)}",
            "label_config": label_config(list(share.project.classes.values())),
            "sampling": ORDER,
            "show_collab_predictions": True,
            "model_version": MODEL,
        }
        return str(self._rest.make("/api/projects", values, lambda: self._find_project(share)))

    def _project(self, number: str, project: Project) -> _Json:
        """Return the settings of a project; raises InputError where it is gone, or another's."""
        try:
            settings: _Json = self._rest.get(f"/api/projects/{number}")
        except RefusedError as refused:
            if refused.status != 404:
                raise
            settings = {}
        # Where the server began again, another project may have the number.
        if f"mgral:{project.id}" in (settings.get("description") or "") or (
            settings and self._task_data(number, project)
        ):
            return settings
        raise InputError(
            f"{self._rest.url}/projects/{number}, which this project was pushed to, is not there any more, or is not "
            f"for the account of the token; give the right token ({VARIABLE}), or make a new one: "
            f"{program()} project push --anew"
        )

    def _fit_interface(self, settings: _Json, project: Project) -> list[str]:
        """Add missing classes to a labelling interface, and return what a person should know of the settings."""
        number, url = settings["id"], f"{self._rest.url}/projects/{settings['id']}/settings"
        config, lines = fitted_interface(settings["label_config"], project, f"{url}/labeling")
        if config is not None:
            self._rest.patch(f"/api/projects/{number}", {"label_config": config})
        if settings["sampling"] != ORDER:
            lines.append(
                f"its task order is {settings['sampling']}, not {ORDER}, so the most useful do not come first ({url})"
            )
        if not settings["show_collab_predictions"] or settings["model_version"] != MODEL:
            lines.append(f"it shows no proposed boxes; to see them, choose the predictions {MODEL!r} ({url})")
        return lines

    def _task_data(self, number: str, project: Project) -> dict[int, _Json]:
        """Return the data of the tasks that are of a project, by the server's numbers."""
        tasks = self._tasks(number, KNOWN_AT_ONCE, {"include": "id,data"})
        return {task_number: task["data"] for task_number, task in tasks.items() if _is_ours(task["data"], project)}

    def _tasks(self, number: str, size: int, params: Mapping[str, str], title: str = "") -> dict[int, _Json]:
        """Return all tasks of a project by their numbers, ascending; with a title, show how many are read."""
        params = {**params, "project": number, "resolve_uri": "false", "page_size": str(size)}
        for _ in range(TRIES):
            first = self._rest.get("/api/tasks", params)
            total, unsorted_tasks = int(first["total"]), self._tasks_of_pages(params, first)
            tasks = {
                task["id"]: task
                for task in (tracked(unsorted_tasks, title, total, "task") if title else unsorted_tasks)
            }
            if len(tasks) == total:
                return dict(sorted(tasks.items()))
        raise StepError(f"{self._rest.url}/projects/{number} changes all the time; run the same command later")

    def _tasks_of_pages(self, params: Mapping[str, str], answer: _Json) -> Iterator[_Json]:
        """Yield the tasks of all pages, given the first; fewer where some are deleted meanwhile."""
        count, page = 0, 1
        while answer["tasks"]:
            yield from answer["tasks"]
            count, page = count + len(answer["tasks"]), page + 1
            if count >= answer["total"]:
                return
            try:
                answer = self._rest.get("/api/tasks", {**params, "page": str(page)})
            except RefusedError as refused:
                if refused.status != 404:
                    raise
                return

    def _people(self) -> dict[str, int]:
        """Return the numbers of the people by their email addresses, as far as the token's account may know them."""
        try:
            return {person["email"]: person["id"] for person in self._rest.get("/api/users/")}
        except (RefusedError, KeyError, TypeError):
            return {}

    def _place_pictures(
        self, number: str, share: Share, tasks: Sequence[dict[str, Any]], pictures: Pictures | None
    ) -> list[str]:
        """Put the addresses of the pictures into tasks, where the server has or reads them."""
        if pictures is None and not tasks[0]["data"]["image"].startswith(LOCAL_FILES):
            return []  # people said by --prefix where they are
        files = picture_files(share, [task["data"]["mgral_id"] for task in tasks])
        folder, lines = share.folder / PICTURES, []
        if pictures != "upload":
            try:
                first_file = files[tasks[0]["data"]["mgral_id"]].name
                prefix = serve(self._rest, number, f"{share.title} {share.folder.name}", folder, first_file)
                for task in tasks:
                    task["data"]["image"] = prefix + quote(files[task["data"]["mgral_id"]].name)
                return []
            except RefusedError as refused:
                reason = f"the server does not read the pictures from the disk ({refused.reply})"
            if pictures == "serve":
                raise InputError(
                    f"{self._rest.url}: {reason}; start it where {folder} is, with "
                    "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT set to "
                    "the project's folder, or give --pictures upload"
                )
            lines.append(f"{reason}, so they were uploaded")
        uploads = [Picture(image, file) for image, file in files.items()]
        addresses = upload(self._rest, number, share.project.id, uploads)
        for task in tasks:
            task["data"]["image"] = addresses[task["data"]["mgral_id"]]
        return lines

    def _send(self, number: str, project: Project, tasks: Sequence[_Json]) -> None:
        """Send tasks in their order, each once: after a request that broke off, what is there is asked for."""
        chunk: list[_Json] = []
        for position, task in enumerate(tracked(tasks, "tasks", len(tasks), "task"), start=1):
            chunk.append(task)
            if len(chunk) == SENT_AT_ONCE or position == len(tasks):
                self._send_chunk(number, project, chunk)
                chunk = []

    def _send_chunk(self, number: str, project: Project, chunk: list[_Json]) -> None:
        """Send some tasks; those of a request that the server may still be at are waited for, and not sent again."""
        late = False
        for attempt in range(TRIES):
            if not late:
                try:
                    answer = self._rest.post(f"/api/projects/{number}/import", json=chunk)
                    if "task_count" in answer:
                        return
                    late, reason = True, "the server takes the tasks in the background"
                except UnsureError as error:
                    late, reason = error.late, str(error)
            self._rest.wait(attempt, reason)
            sent_keys = set(map(key_of, self._task_data(number, project).values()))
            chunk = [task for task in chunk if key_of(task["data"]) not in sent_keys]
            if not chunk:
                return
        raise StepError(
            f"{self._rest.url} has not taken all tasks ({reason}); when it works again, run the same command: it "
            "sends what is missing"
        )


def _with_renewed_tokens(url: str, value: str) -> Rest:
    """Return the server with tokens of minutes, which a personal access token buys again and again."""
    token_server = Rest(url, Token("Bearer", value))

    def renew() -> Token:
        return Token("Bearer", token_server.exchange("/api/token/refresh", {"refresh": value})["access"])

    return Rest(url, renew(), renew)


def _is_ours(data: object, project: Project) -> bool:
    """Return whether a task's data says that it was sent from a project."""
    return (
        isinstance(data, dict) and data.get("mgral_project") == project.id and whole(data.get("mgral_id")) is not None
    )


def _mark(share: Share) -> str:
    """Return the word in a description by which a server's project is found."""
    return f"mgral:{share.project.id}" + (f":{share.person}" if share.person else "")


def _with_drafts(task: _Json, people: Mapping[str, int]) -> _Json:
    """Return a task whose drafts say by number whose they are, as annotations do, and not how long ago they began."""
    drafts = []
    for draft in task["drafts"]:
        fields = {key: value for key, value in draft.items() if key != "created_ago"}
        drafts.append({**fields, "user": people.get(draft["user"], draft["user"])})
    return {**task, "drafts": drafts}


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Make messages of what the server answers."""
    try:
        yield
    except RefusedError as refused:
        if refused.status == 401:
            raise InputError(
                f"{url} refuses the token in {VARIABLE}: take a new one from {url}/user/account; the organisation "
                "may allow one kind of token only"
            ) from None
        if refused.status == 403:
            raise InputError(
                f"{url}: the account of the token in {VARIABLE} may not do this ({refused.reply}); ask "
                "somebody who administers it"
            ) from None
        raise InputError(f"{url} answers {refused.status}: {refused.reply}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{url} answers otherwise than Label Studio 1.23 does ({type(error).__name__}: {error}); use that version"
        ) from error
    except ValueError as error:  # its words may contain a token
        raise InputError(f"{url} answers otherwise than Label Studio 1.23 does; use that version") from error
    except UnsureError as unsure:
        raise StepError(f"{url}: {unsure}; see to the server, and run the same command again") from None
