"""A command that a client of the job server asked for, in the process that runs it."""

import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from mgral.cli.main import main as run_command_line


class ClientJob:
    """Has the client's streams, working directory and environment, and ends this process when the client ends."""

    def __init__(self, connection: socket.socket, streams: Sequence[int], call: Mapping[str, Any]) -> None:
        """Make this process like the client's.

        Parameters
        ----------
        connection
            To the client.
        streams
            Its standard input, output and error; they are closed.
        call
            Its arguments, working directory (`folder`) and environment.
        """
        self.arguments: list[str] = call["arguments"]
        self._connection, self._done = connection, False
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(call["folder"])
        os.environ.clear()
        os.environ.update(call["environment"])
        self._watcher = threading.Thread(target=self._end_with_client, daemon=True)
        self._watcher.start()

    def _end_with_client(self) -> None:
        self._connection.recv(1)
        if not self._done:
            os.kill(os.getpid(), signal.SIGTERM)

    def run(self) -> int:
        """Run the command line in this process, and return its exit code."""
        sys.argv = ["mgral", *self.arguments]
        try:
            run_command_line()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc()
            code = 1
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            code = code or 1
        return code if isinstance(code, int) else int(code is not None)

    def answer(self, code: int) -> None:
        """Send the exit code, with which the client ends."""
        self._done = True
        self._connection.sendall(str(code).encode())
        self._connection.shutdown(socket.SHUT_RDWR)
        self._watcher.join()
        self._connection.close()

    def hand_on(self, worker: socket.socket, call: bytes, descriptors: Sequence[int]) -> None:
        """Let another process run the command: it gets the streams, the connection and more descriptors."""
        socket.send_fds(worker, [call], [0, 1, 2, self._connection.fileno(), *descriptors])
