"""Starts the job server (`mgral.cli.server`), from which steps start without importing torch.

    python -m mgral.engine.job_server SOCKET COMMAND...

runs a command beside a job server, and exits with the command's code.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ADDRESS = "MGRAL_SERVER"
"""Environment variable by which steps find the server's socket: a path from the working directory."""


@contextmanager
def job_server(socket: Path, python: Sequence[str] = (sys.executable,)) -> Iterator[None]:
    """Run a job server, and name it in the environment, from which new processes have it.

    Where it cannot run, as on a file system without sockets, steps start by themselves.

    Parameters
    ----------
    socket
        Path to make, from the working directory.
    python
        Command that runs Python: this one, or the one of a container.
    """
    # With -P no file of the working directory is taken for a module, such as a random.py.
    command = [*python, "-P", "-m", "mgral.cli.server", str(socket)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        if server.stdout.readline():
            # With the first prefix Apptainer hands it on to a container with a clean environment too.
            os.environ |= {ADDRESS: str(socket), f"APPTAINERENV_{ADDRESS}": str(socket)}
        try:
            yield
        finally:
            os.environ.pop(ADDRESS, None)
            server.stdin.close()
            with suppress(KeyboardInterrupt):  # a second Ctrl-C, while its last processes end
                server.wait()


def main() -> None:
    """Run the command of the command line."""
    with job_server(Path(sys.argv[1])), subprocess.Popen(sys.argv[2:]) as command:
        try:
            command.wait()
        except KeyboardInterrupt:  # which the command got as well
            command.wait()
    sys.exit(command.returncode)


if __name__ == "__main__":
    main()
