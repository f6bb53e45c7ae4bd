"""Runs a command in a pseudo-terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_in_terminal(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], columns: int = 80, interrupt_at: bytes = b""
) -> tuple[int, bytes]:
    """Return the exit code and all that was written; once `interrupt_at` was, all processes get SIGINT."""
    terminal, other_end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    streams = {"stdin": other_end, "stdout": other_end, "stderr": other_end}
    # A shell without job control starts what it leaves in the background with SIGINT ignored, which is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams) as process:
        os.close(other_end)
        written = b""
        while True:
            try:
                written += os.read(terminal, 65536)
            except OSError:  # nobody has the other end any more
                break
            if interrupt_at and interrupt_at in written:
                interrupt_at = b""
                os.killpg(process.pid, signal.SIGINT)
    os.close(terminal)
    return process.returncode, written
