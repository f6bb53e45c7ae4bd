"""Workers: processes that have started CUDA on a card, and run one job after another on it.

CUDA takes seconds to start, and a process that has started it cannot be forked. So the process that the job server
has forked for a job on a card does not end with the job, but waits for the next one on that card. It ends with the
server, when its memory is needed, and with a job that is killed or crashes.
"""

import gc
import json
import os
import random
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from mgral.cli.jobs import ClientJob
from mgral.compute.cards import HELD, Share, idle_folder, idle_workers, key, lock, make_visible, shared_folder, take
from mgral.errors import InputError, StepError


class Workers:
    """The workers of a job server, by number; in a forked process, those that were there before it."""

    def __init__(self) -> None:
        self._server, self._last = os.getpid(), 0
        self._sockets: dict[int, socket.socket] = {}

    def expect(self) -> socket.socket:
        """Return one end of a new pair of sockets, for the process to be forked, which may become a worker."""
        for number, connection in list(self._sockets.items()):
            try:
                ended = not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            if ended:
                self._sockets.pop(number).close()
        ours, theirs = socket.socketpair()
        self._last += 1
        self._sockets[self._last] = ours
        return theirs

    def close(self) -> None:
        """Let the workers end when they are idle; in a forked process, leave that to the server alone."""
        for connection in self._sockets.values():
            connection.close()
        self._sockets.clear()

    def run(self, job: ClientJob, call: dict[str, Any], worker_socket: socket.socket) -> int:
        """Run a job that is given a card, in this process or an idle worker, and return its exit code.

        It returns only where no card can be used: else the process ends here.
        """
        claimed: list[Path] = []

        def claim(share: Share) -> Path | None:
            worker_file = self._claim(share)
            claimed.extend([worker_file] if worker_file else [])
            return worker_file

        try:
            shares = take(1, integer_option(job.arguments, "--vram-mb"), claim)
        except (InputError, StepError) as error:
            print(f"mgral: {error}", file=sys.stderr)
            return 2 if isinstance(error, InputError) else 1
        if not shares:
            return job.run()
        if claimed:
            worker_file = claimed[0]  # the only one, as a single card is taken
            message = json.dumps(call | {"share": str(shares[0].path)}).encode() + b"\n"
            job.hand_on(self._sockets[int(worker_file.name.split(".")[2])], message, [shares[0].file])
            os._exit(0)
        self.close()
        _work(job, shares[0], worker_socket, f"{self._server}.{self._last}")

    def _claim(self, share: Share) -> Path | None:
        """Return the file of an idle worker of this server on a share's card, if there is one, and remove it."""
        for path in idle_workers(share):
            if path.name.split(".")[1] == str(self._server):
                path.unlink()
                return path
        return None


def integer_option(arguments: list[str], name: str) -> int:
    """Return the last integer that the arguments of a step give for an option; 0 without one."""
    number = 0
    for argument, following in pairwise([*arguments, ""]):
        option_name, equals, value = argument.partition("=")
        value = value if equals else following
        number = int(value) if option_name == name and value.isdecimal() else number
    return number


def _work(job: ClientJob, share: Share, worker_socket: socket.socket, name: str) -> NoReturn:
    """Run a job, and then those that come by a socket, each on the same card."""
    initial_state = _State()
    while True:
        make_visible([share])
        HELD.append(share)
        with warnings.catch_warnings():
            code = job.run()
            usable = initial_state.restore()
        HELD.clear()
        idle_file = _hold_idle(share, name) if usable else None
        share.free()
        job.answer(code)
        if idle_file is None:
            os._exit(0)
        message, files, _, _ = socket.recv_fds(worker_socket, 1, 5)
        if not message:  # the server has ended
            os._exit(0)
        with worker_socket.makefile() as lines:
            call = json.loads(message.decode() + lines.readline())
        os.close(idle_file)
        *streams, connection, file = files
        share = Share(share.card, Path(call["share"]), file)
        job = ClientJob(socket.socket(fileno=connection), streams, call)


class _State:
    """What a step may change in its process, and the next one must find as in a new one."""

    def __init__(self) -> None:
        import numpy as np
        import torch

        from mgral.engine import provenance

        self._signals = {
            number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
        }
        backends: Any = torch.backends
        flags = [(backends.cudnn, "benchmark"), (backends.cudnn.conv, "fp32_precision")]
        flags.append((backends.cuda.matmul, "fp32_precision"))
        settings: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
            (random.getstate, random.setstate),
            (np.random.get_state, np.random.set_state),
            (np.geterr, lambda kinds: np.seterr(**kinds)),
            (torch.get_rng_state, torch.set_rng_state),
            (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
            (torch.get_default_dtype, torch.set_default_dtype),
            (torch.get_num_threads, torch.set_num_threads),
            (torch.is_grad_enabled, torch.set_grad_enabled),
            *((partial(getattr, backend, flag), partial(setattr, backend, flag)) for backend, flag in flags),
        ]
        self._put_back = [(put, get()) for get, put in settings]
        self._provenance = provenance

    def restore(self) -> bool:
        """Put everything back, and return whether that was possible: a card does not answer after a fault."""
        try:
            self._restore()
        except Exception:
            return False
        return True

    def _restore(self) -> None:
        import torch

        for number, handler in self._signals.items():
            signal.signal(number, handler)
        for put, value in self._put_back:
            put(value)
        null_device = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):  # whoever reads what the job wrote waits for the end of it
            os.dup2(null_device, stream)
        os.close(null_device)
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.manual_seed_all(torch.initial_seed())
        self._provenance.begin_anew()


def _hold_idle(share: Share, name: str) -> int:
    """Lock a file that says which worker waits on which card, and return its descriptor."""
    file, path = tempfile.mkstemp(prefix="new-", dir=shared_folder())
    lock(file)  # before others see it, who remove what nobody holds
    Path(path).rename(idle_folder() / f"{key(share.card)}.{name}.{os.getpid()}")
    return file
