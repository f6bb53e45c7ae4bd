"""A Label Studio of its own on this machine, for tests and benchmarks: `make label-studio` installs it.

Needs Python alone, as it runs before anything else is installed.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

HOME = Path(__file__).parents[1] / ".label-studio"
READY = HOME / "ready"
"""There once it is installed."""
DATA = HOME / "data"
"""Its data folder after its first start, which makes the tables of its database and takes minutes."""
EMAIL, PASSWORD = "one@localhost.org", "local-only-1234"
TOKEN = "5eed" * 10
"""No secret: the server listens on this machine only, and goes with the test."""
LONGEST = 900.0
"""Seconds until it must answer."""


class Running(NamedTuple):
    """A server that answers."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def label_studio(data: Path, root: Path) -> Iterator[Running]:
    """Run a server until the end of the block.

    Parameters
    ----------
    data
        Its data folder, made from that of its first start where it is not there.
    root
        Whose folders it may serve as local files.
    """
    if not data.exists():
        shutil.copytree(DATA, data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": EMAIL,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(root),
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "PYTHONWARNINGS": "ignore",
    }
    command = [HOME / "venv" / "bin" / "label-studio", "start", "--no-browser", "--internal-host", "127.0.0.1"]
    log = data.with_name(f"{data.name}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--log-level", "WARNING"],
            env={**{key: value for key, value in os.environ.items() if not key.startswith("LABEL_STUDIO")}, **own},
            cwd=data.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield Running(url, process)
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(f"{url}/health", timeout=30):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    sys.exit(f"Label Studio does not start: {log.read_text(errors='replace')[-2000:]}")


def main() -> None:
    """Start it for the first time, so that later starts take seconds."""
    first = HOME / "first"
    shutil.rmtree(first, ignore_errors=True)
    shutil.rmtree(DATA, ignore_errors=True)
    first.mkdir(parents=True)
    with label_studio(first, HOME):
        pass
    first.rename(DATA)


if __name__ == "__main__":
    main()
