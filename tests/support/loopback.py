"""A web server on the loopback that serves files in parts, and misbehaves as often as it is told to."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class Reply:
    """What the server is about to send: `body`, which may be less than the length that it announces."""

    status: int
    headers: dict[str, str]
    body: bytes
    content: bytes = b""
    """The whole file."""


Fault = Callable[[Reply], Reply]


@dataclass
class Loopback:
    """The server: where it is, what was asked of it, and what it will do wrong, one fault a request."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """The file's name and the header Range of each request."""


def cut(reply: Reply) -> Reply:
    """The connection breaks in the middle."""
    return replace(reply, body=reply.body[: (len(reply.body) + 1) // 2])


def corrupt(reply: Reply) -> Reply:
    """A bit of the last byte turns."""
    return replace(reply, body=reply.body[:-1] + bytes([reply.body[-1] ^ 1]))


def refuse(status: int) -> Fault:
    """An answer without the file."""
    return lambda _: Reply(status, {"Content-Length": "0"}, b"")


def announce(difference: int) -> Fault:
    """A length that is not the true one."""

    def lie(reply: Reply) -> Reply:
        length = int(reply.headers["Content-Length"]) + difference
        return replace(reply, headers={**reply.headers, "Content-Length": str(length)})

    return lie


def no_length(reply: Reply) -> Reply:
    """No length at all: the end of the connection is that of the file."""
    return replace(reply, headers={key: reply.headers[key] for key in reply.headers if key != "Content-Length"})


def no_parts(reply: Reply) -> Reply:
    """The whole file, whatever part was asked for."""
    return Reply(200, {"Content-Length": str(len(reply.content))}, reply.content)


@contextmanager
def serve(folder: Path) -> Iterator[Loopback]:
    """Serve the files of a folder by their names, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, span = self.path.rpartition("/")[2], self.headers.get("Range")
            server.asked.append((name, span))
            reply = answer(folder / name, span)
            if server.faults:
                reply = server.faults.pop(0)(reply)
            self.send_response(reply.status)
            for key, value in reply.headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server = Loopback(f"http://127.0.0.1:{listening.server_port}")
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def answer(path: Path, span: str | None) -> Reply:
    """What a good server says: the file, the part of it that was asked for, or that there is none."""
    if not path.is_file():
        return Reply(404, {"Content-Length": "0"}, b"")
    content = path.read_bytes()
    start = int(re.fullmatch(r"bytes=(\d+)-", span)[1]) if span else 0
    if span and start >= len(content):
        return Reply(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}, b"", content)
    headers = {"Content-Length": str(len(content) - start)}
    if not span:
        return Reply(200, headers, content, content)
    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return Reply(206, headers, content[start:], content)
