"""Requests to a server that want a token, and may have to be repeated; the token gets into no message."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.auth import AuthBase

from mgral.errors import InputError, StepError

TRIES = 5
"""How often a request that may be repeated is sent at most."""
FIRST_WAIT = 1.0
"""Seconds before the second time; each further one waits twice as long."""
TIMEOUT = (10.0, 120.0)
"""Seconds to wait for a connection, and for an answer."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses after which the same request may succeed later."""
LONGEST = 300
"""Characters of a server's own words in a message."""


class UnsureError(Exception):
    """Nobody knows whether the server did what it was asked: it did not answer, or failed on the way."""

    def __init__(self, reason: str, late: bool = False) -> None:
        super().__init__(reason)
        self.late = late
        """Whether the server may still be working on the request."""


class RefusedError(Exception):
    """The server's answer to a request that it does not take."""

    def __init__(self, status: int, reply: str) -> None:
        super().__init__(f"{status}: {reply}")
        self.status = status
        self.reply = reply
        """What it said, without the token."""


class Token(AuthBase):
    """A token that no message and no traceback shows."""

    def __init__(self, scheme: str, value: str) -> None:
        self.header, self._value = f"{scheme} ", value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token into a request, in the place of one from a netrc file."""
        request.headers["Authorization"] = self.header + self._value
        return request

    def hidden_in(self, text: str) -> str:
        """Return a text with the token taken out."""
        return text.replace(self._value, "...")

    def __repr__(self) -> str:
        return "Token(...)"


class Rest:
    """A server by its address, with a token."""

    def __init__(self, url: str, token: Token, renew: Callable[[], Token] | None = None) -> None:
        self.url = url
        self._token, self._renew = token, renew
        self._session = requests.Session()

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return what the server has at a path, as JSON gives it.

        Raises
        ------
        RefusedError
            Where the server does not take the request.
        StepError
            Where it does not answer, though asked several times.
        """
        return self._json_of(self._send_repeatedly("GET", path, params=params))

    def content(self, path: str) -> bytes:
        """Return the bytes at a path; raises as `get` does."""
        return self._send_repeatedly("GET", path).content

    def patch(self, path: str, values: Mapping[str, Any]) -> Any:
        """Change something by a request that may be repeated; raises as `get` does."""
        return self._json_of(self._send_repeatedly("PATCH", path, json=values))

    def delete(self, path: str) -> None:
        """Take something away; raises as `get` does."""
        self._send_repeatedly("DELETE", path)

    def post(self, path: str, params: Mapping[str, Any] | None = None, **body: Any) -> Any:
        """Make something new, once.

        Parameters
        ----------
        body
            `json` or `files`, as `requests` takes them.

        Raises
        ------
        RefusedError
            Where the server does not take the request; then nothing was made.
        UnsureError
            Where it may be made or not: ask what is there.
        """
        return self._json_of(self._send_once("POST", path, params=params, **body))

    def make(self, path: str, values: Mapping[str, Any], find: Callable[[], Any]) -> Any:
        """Make something new, once, and return its number, also where the connection breaks meanwhile.

        Parameters
        ----------
        find
            Returns its number where it is there, else None.

        Raises
        ------
        RefusedError, StepError
            As `get` does.
        """
        for attempt in range(TRIES):
            try:
                return self.post(path, json=values)["id"]
            except UnsureError as error:
                reason = str(error)
            self.wait(attempt, reason)
            if (number := find()) is not None:
                return number
        raise StepError(f"{self.url}: {reason}, {TRIES} times; see to the server, and run the same command again")

    def exchange(self, path: str, values: Mapping[str, Any]) -> Any:
        """Return the answer to a POST that may be sent twice; raises as `get` does."""
        return self._json_of(self._send_repeatedly("POST", path, json=values))

    def wait(self, failures: int, reason: str) -> None:
        """Wait before a further attempt, the longer the more failed before, and report why."""
        seconds = FIRST_WAIT * 2**failures
        print(f"{self.url}: {reason}; tried again in {seconds:g} s", file=sys.stderr, flush=True)
        time.sleep(seconds)

    def _send_repeatedly(self, method: str, path: str, **request: Any) -> requests.Response:
        """Return the answer to a request that is sent until there is one, `TRIES` times at most."""
        for attempt in range(TRIES):
            try:
                return self._send_once(method, path, **request)
            except UnsureError as error:
                reason = str(error)
            if attempt < TRIES - 1:
                self.wait(attempt, reason)
        raise StepError(f"{self.url}: {reason}, {TRIES} times; see to the server, and run the same command again")

    def _send_once(self, method: str, path: str, **request: Any) -> requests.Response:
        """Return the answer to a request that is not repeated, but where the token has to be renewed."""
        response = self._send(method, path, **request)
        if response.status_code == requests.codes.unauthorized and self._renew is not None:
            self._token = self._renew()  # it is valid for minutes only
            response = self._send(method, path, **request)
        if response.status_code in PASSING:
            raise UnsureError(f"the server answers {response.status_code} ({response.reason})")
        if response.is_redirect:
            raise InputError(
                f"{self.url} sends on to {response.headers['Location'].partition('/api/')[0]}; give that address "
                "as --url"
            )
        if not response.ok:
            raise RefusedError(response.status_code, self._token.hidden_in(_reply_of(response))[:LONGEST])
        return response

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        try:
            return self._session.request(
                method, self.url + path, auth=self._token, timeout=TIMEOUT, allow_redirects=False, **request
            )
        except requests.exceptions.SSLError:
            raise InputError(f"{self.url} has no certificate that this machine trusts; see to that first") from None
        except requests.Timeout:
            raise UnsureError("the server does not answer in time", late=True) from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            raise UnsureError("the server cannot be reached, or broke the connection") from None
        except requests.RequestException as error:
            raise InputError(f"{self.url}: {type(error).__name__}; correct --url") from None

    def _json_of(self, response: requests.Response) -> Any:
        try:
            return response.json() if response.content else None
        except (ValueError, RecursionError):
            raise InputError(f"{self.url} answers with no JSON, so it is another server; correct --url") from None


def _reply_of(response: requests.Response) -> str:
    """Return what a server says of a request that it does not take: its messages, where it sends JSON."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return str(response.reason)
    if not isinstance(body, dict):
        return str(body)
    errors = body.get("validation_errors")
    texts = [f"{text}" for text in errors.values()] if isinstance(errors, dict) else [str(body.get("detail", body))]
    return " ".join("; ".join(texts).split())
