"""CVAT's SDK with limits of time, and with errors that say what to do and contain no secret."""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import urllib3
from cvat_sdk import Client
from cvat_sdk.api_client import exceptions as refusals
from cvat_sdk.core.client import AccessTokenCredentials, Credentials, PasswordCredentials
from cvat_sdk.core.exceptions import CvatSdkException
from cvat_sdk.version import VERSION

from mgral.errors import InputError, StepError

TOKEN, USER, PASSWORD, ORGANIZATION = "CVAT_ACCESS_TOKEN", "CVAT_USERNAME", "CVAT_PASSWORD", "CVAT_ORGANIZATION"
"""Variables of the environment; the first is the SDK's own."""
CONNECT = 10.0
"""Seconds in which a server has to take a connection."""
ANSWER = 120.0
"""Seconds in which a server has to begin an answer; the SDK waits for ever."""
STANDSTILL = 900.0
"""Seconds that a background job of a server may go without progress."""
LONGEST_PAUSE = 5.0
"""Seconds between looks at such a job, at most."""
UNEXPECTED_ERRORS = (AssertionError, AttributeError, KeyError, TypeError, ValueError, RecursionError)
"""What the SDK raises, beside errors of its own, where an answer lacks something or is of another sort."""
SHOWN = 300
"""Characters of what a server says, in a message."""


@dataclass(frozen=True)
class Login:
    """A CVAT, and somebody's right to use it."""

    url: str
    credentials: Credentials = field(repr=False)
    secret: str = field(repr=False)
    """What no message may contain."""
    organization: str | None
    """Short name of the organization whose projects are used; None for those of the person, and all that they see."""

    @classmethod
    def from_environment(cls, url: str) -> "Login":
        """Return the login for a URL by the token, or else the user and password, of the environment.

        Raises
        ------
        InputError
            Where there is none, or one that cannot be sent.
        """
        organization = os.environ.get(ORGANIZATION, "").strip() or None
        token = os.environ.get(TOKEN, "").strip()
        for name, value in ((TOKEN, token), (ORGANIZATION, organization or "")):
            # Else the message about the header that cannot be sent would show it.
            if not value.isascii() or not value.isprintable():
                raise InputError(f"{name} has characters that cannot be sent, such as an end of line; set it again")
        if token:
            return cls(url, AccessTokenCredentials(token), token, organization)
        user, password = os.environ.get(USER), os.environ.get(PASSWORD)
        if not user or not password:
            raise InputError(
                f"there is no login for CVAT: set {TOKEN} to an access token (in CVAT, under your profile, "
                f"Security), or set {USER} and {PASSWORD}"
            )
        return cls(url, PasswordCredentials(user, password), password, organization)

    @contextmanager
    def session(self) -> Iterator[Any]:
        """Give a client of the SDK that is logged in.

        Raises
        ------
        InputError
            Where the server refuses the login or the work, or is no CVAT.
        StepError
            Where it fails, or does not answer.
        """
        silent = logging.Logger("cvat", logging.CRITICAL + 1)  # what goes wrong is raised as well
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it tells of each attempt
        with self._explained() as versions, Client(self.url, logger=silent, check_server_version=False) as client:
            _set_limits(client)
            client.organization_slug = self.organization
            about, _ = client.api_client.server_api.retrieve_about()  # before a password goes there: is it a CVAT?
            versions.append(about.version)
            self._log_in(client)
            yield client

    def _log_in(self, client: Any) -> None:
        try:
            client.login(self.credentials)
            client.api_client.users_api.retrieve_self()
        except refusals.ApiException as error:
            if error.status not in (400, 401, 403):
                raise
            variables = TOKEN if isinstance(self.credentials, AccessTokenCredentials) else f"{USER} and {PASSWORD}"
            raise InputError(
                f"{self.url} refuses the login of {variables} ({self._reply_of(error)}); correct it, or make a new "
                "token (in CVAT, under your profile, Security)"
            ) from None

    @contextmanager
    def _explained(self) -> Iterator[list[str]]:
        """Make messages of what the SDK raises; the list is for the version of the server, once it is known."""
        versions: list[str] = []
        try:
            yield versions
        except refusals.ApiException as error:
            reply = self._reply_of(error)
            if (location := (error.headers or {}).get("Location")) and 300 <= (error.status or 0) < 400:
                raise InputError(
                    f"{self.url} sends on to {location.partition('/api/')[0]}; give that address as --url"
                ) from None
            if error.status == 429 or (error.status or 0) >= 500:
                raise StepError(f"{self.url} fails ({reply}); run the same command again later") from None
            if error.status == 404:
                raise InputError(
                    f"{self.url} does not have what was requested ({reply}); check that it is a CVAT. If somebody "
                    "deleted something there, run the same command again"
                ) from None
            raise InputError(
                f"{self.url} refuses ({reply}); ask for the permission there, or check the project, and run the same "
                "command again"
            ) from None
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, urllib3.exceptions.SSLError):
                raise InputError(
                    f"{self.url} has a certificate that is not trusted ({reason}); name the file of who issued it in "
                    "SSL_CERT_FILE"
                ) from None
            raise StepError(
                f"{self.url} does not answer, or stopped in the middle ({type(reason).__name__}); start it, or check "
                "the network, and run the same command again"
            ) from None
        except CvatSdkException as error:
            raise StepError(
                f"{self.url}: {self._without_secret(str(error))}; check the server, and run the same command again"
            ) from None
        except (*UNEXPECTED_ERRORS, refusals.OpenApiException) as error:
            hint = f"it is version {versions[0]}; install the cvat-sdk of that version" if versions else "is it one?"
            raise InputError(
                f"{self.url} does not answer as a CVAT {VERSION} does ({self._without_secret(str(error))}); {hint}"
            ) from error

    def _reply_of(self, error: Any) -> str:
        """Return the status of a refusal and what the server says, without the secret."""
        body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body or ""
        try:
            content = json.loads(body)
            body = content["detail"] if isinstance(content, dict) and "detail" in content else json.dumps(content)
        except ValueError:
            body = "" if body.lstrip().startswith("<") else body  # a page for a browser
        return f"{error.status}{body and ': '}{self._without_secret(str(body))}"

    def _without_secret(self, text: str) -> str:
        """Return the beginning of a text, on one line, with the secret masked."""
        masked = " ".join(text.replace(self.secret, "***").split())
        return masked[:SHOWN]


def wait_until_done(client: Any, request_id: str, purpose: str) -> Any:
    """Wait until a background job of a server is done, and return it.

    Parameters
    ----------
    request_id
        Its `rq_id`.
    purpose
        What it is to do, such as "take the pictures", for messages.

    Raises
    ------
    StepError
        Where it fails, or makes no progress.
    """
    job = wait_until_ended(client, request_id, purpose)
    if job.status.value == "failed":
        reason = (job.get("message") or "").strip().splitlines()[-1:]
        raise StepError(
            f"CVAT could not {purpose} ({''.join(reason)[:SHOWN]}); mend that, and run the same command again"
        )
    return job


def wait_until_ended(client: Any, request_id: str, purpose: str) -> Any:
    """Wait until a background job of a server is done or has failed, and return it; see `wait_until_done`."""
    pause, last_state, last_change = 0.1, None, time.monotonic()
    while True:
        job, _ = client.api_client.requests_api.retrieve(request_id)
        status = job.status.value
        if status in ("finished", "failed"):
            return job
        if last_state != (state := (status, job.get("progress"))):
            last_state, last_change = state, time.monotonic()
        elif time.monotonic() - last_change > STANDSTILL:
            raise StepError(
                f"CVAT has made no progress for {STANDSTILL / 60:g} minutes, to {purpose} ({status}); are its "
                "workers running? Run the same command again later"
            )
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def request_id_of(response: Any) -> str:
    """Return the `rq_id` of the background job that an answer names."""
    content = json.loads(response.data)
    if not isinstance(content, dict) or not isinstance(content.get("rq_id"), str):
        raise CvatSdkException("an answer lacks rq_id")
    return str(content["rq_id"])


def _set_limits(client: Any) -> None:
    """Give all requests limits of time, and follow no redirects."""
    rest_client = client.api_client.rest_client
    send = rest_client.request

    def request(*arguments: Any, **options: Any) -> Any:
        options["_request_timeout"] = options.get("_request_timeout") or (CONNECT, ANSWER)
        return send(*arguments, **options)

    rest_client.request = request
    # A password that is sent on goes to a server that nobody named.
    rest_client.pool_manager.urlopen = partial(rest_client.pool_manager.urlopen, redirect=False)
