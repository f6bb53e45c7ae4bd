"""Pushes: batches go to the server of a labelling tool, and the ledger keeps where."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from mgral.errors import InputError, number_of, program
from mgral.labelling.batch_files import PICTURES, TASKS
from mgral.labelling.ledger import writing
from mgral.labelling.opening import round_folder
from mgral.labelling.servers.interface import Pictures, Server, Share, Tool
from mgral.labelling.settings import load_project_settings
from mgral.labelling.state import Project, PushTarget, load_project

Connect = Callable[[Tool, str], Server]
"""Gives the server of a tool at a URL."""


def connect(tool: Tool, url: str) -> Server:
    """Return the server of a tool at a URL; raises InputError where the environment has no token for it."""
    if tool == "label_studio":
        from mgral.labelling.servers.label_studio import LabelStudio

        return LabelStudio.from_environment(url)
    from mgral.labelling.servers.cvat import Cvat

    return Cvat.from_environment(url)


def push(
    folder: Path,
    *,
    tool: Tool | None = None,
    url: str | None = None,
    number: int | None = None,
    output: Path | None = None,
    person: int | None = None,
    pictures: Pictures | None = None,
    anew: bool = False,
    connect: Connect = connect,
) -> list[str]:
    """Send a round's tasks, or those of `mgral project again`, to a server.

    Parameters
    ----------
    tool, url
        The server; None for the one that was pushed to last.
    number
        The round; None for the latest whose batch is made.
    output
        Folder that `mgral project again` wrote, in the place of a round.
    person
        Whose share of a split round, from 1; None for all.
    pictures
        How they get there; None as the server can.
    anew
        Do not use the server's project that the ledger names, such as where it is gone: find one by this project's
        identity, or make one.

    Returns
    -------
    Lines that say what was sent, and what comes next.

    Raises
    ------
    InputError, StepError
        Where nothing can be sent; the same command goes on.
    """
    # Two pushes at once would send everything twice: the lock is kept all the while.
    with writing(folder) as writer:
        settings, project = load_project_settings(folder), load_project(folder)
        tool, url = _server_of(project, tool, url)
        shares = _shares(folder, settings.project, project, number, output, person)
        for share in shares:
            _check_tasks(share, tool)
        server = connect(tool, url)
        lines: list[str] = []
        for share in shares:
            target = PushTarget(tool, url, share.person)
            on_server = project.pushed.get(target)
            pushed = server.push(share, on_server.id if on_server and not anew else None, pictures)
            if on_server is None or on_server.id != pushed.id or share.round not in on_server.rounds:
                writer.add("pushed", [{**vars(target), "id": pushed.id, "round": share.round}])
            batch = f"round {share.round}" if share.round else str(share.folder)
            present = f", {number_of(pushed.already_there, 'was', 'were')} there" if pushed.already_there else ""
            lines.append(
                f"{batch}{share.person and f', {share.person}'}: {number_of(pushed.sent, 'picture')} sent{present}"
            )
            lines += [f"  {line}" for line in pushed.lines]
    return [*lines, f"when people have labelled: {program()} project pull"]


def _server_of(project: Project, tool: Tool | None, url: str | None) -> tuple[Tool, str]:
    """Return the tool and the URL to push to: those given, or else where was pushed last."""
    if url is not None:
        url = checked_url(url)
    for target in reversed(project.pushed):
        if (tool or target.tool) == target.tool and (url or target.url) == target.url:
            return next(known_tool for known_tool in get_args(Tool) if known_tool == target.tool), target.url
    if tool is None or url is None:
        raise InputError("nothing was pushed from here yet; say where to: --to label-studio --url http://HOST:PORT")
    return tool, url


def checked_url(url: str) -> str:
    """Return the address of a server as the ledger has it, without a slash at its end.

    Raises
    ------
    InputError
        Where it is none, or contains a user's name or password, which would get into the ledger. The message does not
        repeat it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not url.isprintable() or " " in url:
        raise InputError("--url is no address of a server; write it as http://HOST:PORT or https://HOST")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            "--url holds more than an address (a user, a password, or what follows ? or #); leave that out: the "
            "token comes from the environment"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _shares(
    folder: Path, title: str, project: Project, number: int | None, output: Path | None, person: int | None
) -> list[Share]:
    """Return the shares to push: of an output of `again`, or of a round those of all people or of one; see `push`."""
    if output is not None:
        if number is not None or person is not None:
            raise InputError(f"give --round and --person for a round, or a folder of `{program()} project again`")
        if not output.is_dir():
            raise InputError(f"{output} is no folder; name the one that `{program()} project again` wrote")
        rounds = {round_folder(folder, round_number).resolve(): round_number for round_number in project.rounds}
        if inside := next((path for path in (output.resolve(), *output.resolve().parents) if path in rounds), None):
            raise InputError(
                f"{output} is of a round; push it as one: {program()} project push --round {rounds[inside]}"
            )
        return [Share(output, 0, "", title, project)]
    filled_rounds = sorted(
        round_number for round_number, images in project.sent.items() if round_number in project.rounds and images
    )
    if number is None and not filled_rounds:
        raise InputError(f"no round has pictures to label yet; make one: {program()} project next")
    if number is not None and number not in filled_rounds:
        raise InputError(
            f"round {number} has no pictures to label; rounds that have: {', '.join(map(str, filled_rounds))}"
        )
    chosen = number or filled_rounds[-1]
    chosen_folder = round_folder(folder, chosen)
    paths = (path for path in chosen_folder.glob("person*") if path.name[6:].isdecimal() and path.is_dir())
    folders = sorted(paths, key=lambda path: int(path.name[6:]))
    if person is not None:
        folders = [path for path in folders if path.name == f"person{person}"]
        if not folders:
            raise InputError(f"round {chosen} has no share of person {person}; see {chosen_folder}")
    return [Share(path, chosen, path.name if folders else "", title, project) for path in folders or [chosen_folder]]


def _check_tasks(share: Share, tool: Tool) -> None:
    for folder in (share.folder / TASKS / tool, share.folder / PICTURES):
        if not folder.is_dir():
            raise InputError(
                f"{folder} is not there: bring it back, or name a batch that was made with `--format {tool}`"
            )


def tool_of(name: str) -> Tool:
    """Return a tool by its name on the command line, such as label-studio."""
    return next(known_tool for known_tool in get_args(Tool) if known_tool == name.replace("-", "_"))
