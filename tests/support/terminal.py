"""Runs a command in a pseudo-terminal."""

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_in_terminal(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], columns: int = 80, interrupt_at: bytes = b""
) -> tuple[int, bytes]:
    """Return the exit code, and all that was written to the terminal; Ctrl-C is typed once after `interrupt_at`."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(folder)
        os.execvpe(command[0], command, environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    written = b""
    while True:
        try:
            written += os.read(terminal, 65536)
        except OSError:  # its other end is closed
            break
        if interrupt_at and interrupt_at in written:
            interrupt_at = b""
            os.write(terminal, b"\x03")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), written
