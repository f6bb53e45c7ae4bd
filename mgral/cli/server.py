"""The job server: forks a process for each step that is to run, from one in which torch is imported already.

    python -m mgral.cli.server SOCKET

It ends when its standard input does, which is when the process that started it ends.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from socketserver import BaseRequestHandler, ForkingMixIn, UnixStreamServer
from typing import Any

from mgral.cli.jobs import ClientJob
from mgral.cli.main import THREADS
from mgral.cli.workers import Workers, integer_option
from mgral.engine.steps import STEPS

WITH_TORCH = ("torch._dynamo", "torchvision", "mgral.models.build", "mgral.method.agent.network")
"""Modules that steps which import torch need in the end, but import only then."""


class JobServer(ForkingMixIn, UnixStreamServer):
    """Runs each command that a client of `mgral.cli.start` sends, in a process of its own."""

    patience = 10.0
    """Seconds for which all others wait for a client that has connected, and says nothing."""
    max_children = 10_000
    """As many as are asked for: Snakemake decides how many jobs run at once."""

    def __init__(self, path: Path) -> None:
        """Listen on a socket at a path; what lies there is replaced."""
        self._workers = Workers()  # closed below, where the path can be no socket
        path.unlink(missing_ok=True)
        super().__init__(str(path), BaseRequestHandler)
        self._call: dict[str, Any] = {}
        self._streams: list[int] = []
        self._worker_socket: socket.socket | None = None

    def service_actions(self) -> None:
        """Collect ended processes, and end with the standard input."""
        super().service_actions()
        if select.select([0], [], [], 0)[0]:
            raise SystemExit

    def process_request(self, request: Any, client_address: Any) -> None:
        """Import what the step needs, before the fork: the next ones need not."""
        request.settimeout(self.patience)
        try:
            _, self._streams, _, _ = socket.recv_fds(request, 1, 3)
            with request.makefile() as lines:
                self._call = json.loads(lines.readline())
        except (OSError, ValueError):  # the client died
            self.shutdown_request(request)
            return
        request.settimeout(None)
        _import_step(self._call["arguments"])
        self._worker_socket = (
            self._workers.expect() if integer_option(self._call["arguments"], "--gpus") == 1 else None
        )
        super().process_request(request, client_address)
        for stream in self._streams:
            os.close(stream)
        if self._worker_socket:
            self._worker_socket.close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Run the command, in the forked process, and send its exit code."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        job = ClientJob(request, self._streams, self._call)
        if self._worker_socket:
            code = self._workers.run(job, self._call, self._worker_socket)
        else:
            self._workers.close()
            code = job.run()
        job.answer(code)

    def server_close(self) -> None:
        """Wait for the forked processes; idle workers end."""
        self._workers.close()
        super().server_close()


def _import_step(arguments: list[str]) -> None:
    """Import the module of a step. Where that fails the forked process does it again, and says why."""
    step = arguments[0] if arguments else ""
    if step not in STEPS:
        return
    gc.disable()
    try:
        import_module("mgral.engine.provenance").packages()  # which takes 30 ms, and remembers
        import_module(f"mgral.cli.steps.{step}")
        # Reading a configuration needs all of them, and each job would find and import them again.
        import_module("mgral.config.detectors").detectors()
        import_module("mgral.config.registry").strategies()
        if "torch" in sys.modules:
            for name in WITH_TORCH:
                import_module(name)
    except Exception:
        pass
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the steps, and for who started them
    # Here, as a container may start with a clean environment: torch reads them when it is imported.
    os.environ.update(dict.fromkeys(THREADS, "1"))
    path = Path(sys.argv[1])
    try:
        listening = JobServer(path)
    except OSError as error:
        print(
            f"mgral: {path} cannot be a socket ({error.strerror or error}), so each step imports torch by itself",
            file=sys.stderr,
        )
        sys.exit(1)
    with listening as server:
        print("ready", flush=True)
        try:
            server.serve_forever()
        finally:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
