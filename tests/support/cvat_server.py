"""A stand-in for CVAT's server: what the SDK calls here, at the SDK's addresses, with answers that fit its models.

It was written from the SDK's schema; nobody has compared it with a real server.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cvat_sdk.api_client import ApiClient, Configuration
from cvat_state import PASSWORD, TOKEN, USER, Call, CvatServer, Fault, RefusalError, checked

__all__ = ["PASSWORD", "TOKEN", "USER", "CvatServer", "serve_cvat"]
_SDK = ApiClient(Configuration(host="http://localhost"))
_ROUTES = {
    "server": ["retrieve_about"],
    "auth": ["create_login"],
    "users": ["retrieve_self"],
    "projects": ["list", "create", "retrieve", "partial_update"],
    "labels": ["list"],
    "tasks": [
        "list",
        "create",
        "retrieve",
        "destroy",
        "create_data",
        "retrieve_data_meta",
        "create_annotations",
        "retrieve_annotations",
    ],
    "jobs": ["list", "retrieve", "create_dataset_export"],
    "requests": ["list", "retrieve"],
}
_SHARED = ("list", "create", "retrieve", "partial_update", "destroy")
"""Names that several have."""
_STEPS = ("Upload-Start", "Upload-Multiple", "Upload-Finish")


def _endpoints() -> Iterator[tuple[str, re.Pattern[str], str, Any]]:
    """Yield the method and the address of each endpoint, as the SDK has them, and its own name in CvatServer."""
    for group, names in _ROUTES.items():
        for name in names:
            endpoint = getattr(getattr(_SDK, f"{group}_api"), f"{name}_endpoint")
            path = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(endpoint.path.rstrip("/"))) + "/?"
            own = f"{name}_{group}" if name in _SHARED else name
            yield endpoint.settings["http_method"], re.compile(path), own, endpoint


_ENDPOINTS = list(_endpoints())


class _Handler(BaseHTTPRequestHandler):
    def _speak(self) -> None:
        """Answer a request, or do what is wrong in its place."""
        stand_in = self._stand_in
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        steps = [step for step in _STEPS if step in self.headers]
        what = " ".join([f"#{len(stand_in.asked)}", self.command, urlsplit(self.path).path, *steps])
        stand_in.asked.append(what)
        fault: Fault | None = None
        if (found := next((one for one in stand_in.faults if re.search(one[0], what)), None)) is not None:
            stand_in.faults.remove(found)
            fault = found[1]
        match fault:
            case int():
                self._send(fault, json.dumps({"detail": f"no, says {TOKEN}"}).encode())
            case "page":
                self._send(200, b"<html>hello</html>", kind="text/html")
            case "other":
                self._send(200, b'{"results": [{}]}')
            case "elsewhere":
                self._send(307, b"", more={"Location": f"https://cvat.example{self.path}"})
            case "stall":
                time.sleep(0.5)
            case "drop":
                self.close_connection = True
            case _:
                if callable(fault):
                    fault()
                with stand_in.lock:
                    status, answer, kind, more = self._answer(what, body)
                if fault != "lost":
                    self._send(status, answer, kind, more, cut=fault == "cut")

    do_GET = do_POST = do_PATCH = do_DELETE = do_HEAD = _speak  # noqa: N815

    @property
    def _stand_in(self) -> CvatServer:
        return self.server.stand_in  # type: ignore[attr-defined]

    def _answer(self, what: str, body: bytes) -> tuple[int, bytes, str, dict[str, str]]:
        stand_in, parts = self._stand_in, urlsplit(self.path)
        kind, more = "application/vnd.cvat+json", dict[str, str]()
        login = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        login = login or "sessionid=s1" in self.headers.get("Cookie", "")
        if not login and parts.path not in ("/api/server/about", "/api/auth/login"):
            return 401, b'{"detail": "Invalid token."}', kind, more
        if parts.path.endswith("/dataset/download"):
            return 200, stand_in.uploads[f"export{parts.path.split('/')[3]}"], "application/zip", more
        if self.headers.get("Tus-Resumable"):
            return self._resumable(parts.path, body)
        routes = ((pattern.fullmatch(parts.path), *rest) for _, pattern, *rest in _of_method(self.command))
        found, name, endpoint = next((route for route in routes if route[0]), (None, "", None))
        if found is None:
            stand_in.wrong.append(f"{what}: the SDK has no such endpoint")
            return 404, b"{}", kind, more
        stand_in.organizations.add(self.headers.get("X-Organization"))
        if self.command != "GET":
            stand_in.changed.append(what)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        known = {endpoint.attribute_map[key] for key, place in endpoint.location_map.items() if place == "query"}
        try:
            if set(query) - known:
                raise ValueError(f"unknown: {set(query) - known}")
            answer = getattr(stand_in, name)(Call(endpoint, found.groupdict(), query, self.headers, body))
            if answer is not None and endpoint.settings["response_schema"]:
                checked(answer, endpoint.settings["response_schema"])
        except RefusalError as error:
            return error.args[0], json.dumps(error.args[1]).encode(), kind, more
        except Exception as error:
            stand_in.wrong.append(f"{what}: {error!r}")
            return 500, b"{}", kind, more
        if name == "create_login":
            more["Set-Cookie"] = "sessionid=s1; Path=/, csrftoken=c1; Path=/"
        later = name == "create_dataset_export" or {"Upload-Start", "Upload-Finish"} & set(self.headers)
        return 202 if later else 200, json.dumps(answer).encode(), kind, more

    def _resumable(self, path: str, body: bytes) -> tuple[int, bytes, str, dict[str, str]]:
        """Take a file in parts, by the protocol tus."""
        uploads = self._stand_in.uploads
        if self.command == "POST":
            words = self.headers["Upload-Metadata"].split()
            assert base64.b64decode(words[words.index("filename") + 1]) == b"annotations.xml"
            number = f"tus{len(uploads)}"
            uploads[number] = b""
            location = f"{self._stand_in.url}{path}{number}"
            return 201, b"", "text/plain", {"Location": location, "Upload-Filename": number}
        number = path.rpartition("/")[2]
        if self.command == "PATCH":
            uploads[number] = uploads[number][: int(self.headers["Upload-Offset"])] + body
        return 204, b"", "text/plain", {"Upload-Offset": str(len(uploads[number]))}

    def _send(
        self, status: int, body: bytes, kind: str = "application/json", more: Any = None, cut: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, *_: object) -> None:
        pass


def _of_method(method: str) -> Iterator[tuple[str, re.Pattern[str], str, Any]]:
    return (one for one in _ENDPOINTS if one[0] == method)


@contextmanager
def serve_cvat() -> Iterator[CvatServer]:
    """Serve until the end of the block; there, what did not fit the schema fails the test."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as listening:
        server = CvatServer(f"http://127.0.0.1:{listening.server_port}")
        listening.stand_in = server  # type: ignore[attr-defined]
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
    assert not server.wrong
