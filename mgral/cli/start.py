"""The command `mgral`: a step runs in this process or, where a job server runs, in one that the server forks.

The server has torch in memory already, whose import takes longer than most steps of a small experiment.
"""

import json
import os
import socket
import sys

ADDRESS = "MGRAL_SERVER"
"""Environment variable with the path of the job server's socket."""
STREAMS = (0, 1, 2)
"""Standard input, output and error."""
OUTSIDE = ("download", "weights", "external")
"""Steps that run outside of a container, where the server may be."""
KILLED = 137
"""Exit code where the forked process was killed, as a shell gives it."""


def main() -> None:
    """Run the command line, and exit with its code."""
    code = _run_elsewhere(os.environ.get(ADDRESS, ""))
    if code is not None:
        sys.exit(code)
    from mgral.cli.main import main

    main()


def _run_elsewhere(address: str) -> int | None:
    """Let the job server run this command, and return its exit code; None where no server is to be had.

    The forked process gets the standard streams, the environment and the working directory of this one. It ends when
    this process ends.
    """
    # The server computes on one thread. Another number would change the last bits of results.
    if not address or os.environ.get("OMP_NUM_THREADS", "1") != "1" or sys.argv[1:2] in ([step] for step in OUTSIDE):
        return None
    folder = os.getcwd()  # noqa: PTH109 - each job waits for the imports of this module, and pathlib is one more
    call = {"arguments": sys.argv[1:], "folder": folder, "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        if connection.fileno() < len(STREAMS):  # a standard stream is closed, and this has its number
            return None
        try:
            connection.connect(address)
            socket.send_fds(connection, [b" "], STREAMS)
            connection.sendall(json.dumps(call).encode() + b"\n")
        except OSError:
            return None
        try:
            answer = connection.recv(16)
        except OSError:
            answer = b""
    if not answer:
        print("mgral: the process of this step was killed; had the machine too little memory?", file=sys.stderr)
        return KILLED
    return int(answer)
