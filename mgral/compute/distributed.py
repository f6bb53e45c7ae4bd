"""One training in several processes, a share of every batch in each.

What a process computes of its share is added up over all processes, so that together they do what one process does
with the whole batch. In a single process, which has the whole batch, nothing here changes a bit.
"""

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing import parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from mgral.errors import InputError, StepError

MEETING, RESULT, ERROR = "meeting", "result", "error"
"""Files by which the processes find each other, and say what they came to."""


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """Return how many processes share the training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def log_rank0(message: str) -> None:
    """Print to stderr, in the first process only."""
    if rank() == 0:
        print(message, file=sys.stderr)


def shard(batch: Tensor) -> Tensor:
    """Return this process' part of a tensor [B, ...]; no two parts differ in length by more than one."""
    return batch.tensor_split(processes())[rank()]


def all_reduce_sum(values: Tensor) -> Tensor:
    """Return the sum over all processes; a gradient of it reaches the values of each."""
    if processes() == 1:
        return values
    total: Tensor = _Sum.apply(values)
    return total


def all_reduce_sum_(values: Tensor) -> Tensor:
    """Replace values by their sum over all processes."""
    if processes() > 1:
        dist.all_reduce(values)
    return values


class _Sum(torch.autograd.Function):
    """The sum over processes, with a gradient; the one in torch.distributed.nn.functional is deprecated."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return all_reduce_sum_(values.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum_(gradient.clone(memory_format=torch.contiguous_format))


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the whole batch, of which each process has a share.

    torch's SyncBatchNorm does the same on GPUs, and on nothing else.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Normalise values [B, C, H, W]."""
        if not self.training or processes() == 1:
            return super().forward(values)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        channels = values.shape[1]
        count = values.new_tensor([values.numel() / channels])
        sums = all_reduce_sum(torch.cat([values.sum((0, 2, 3)), count]))
        count = sums[channels:].detach()
        mean = sums[:channels] / count
        # Squares of what is left after the mean: the difference of two large sums would lose digits.
        variance = all_reduce_sum((values - mean[:, None, None]).square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return values * scale[:, None, None] + shift[:, None, None]


def run_processes(count: int, backend: str, title: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in so many new processes of this machine, as one group, and return what the first one returns.

    If one fails the others are ended; if this process is killed, so are they (on Linux).

    Parameters
    ----------
    backend
        Of torch.distributed: nccl, each process on the GPU of its number, or gloo.
    title
        The step, for messages.
    function, arguments
        Can be pickled, and so can what is returned.

    Raises
    ------
    InputError, StepError
        As the function raised it; StepError where a process failed otherwise, or was killed.
    """
    with TemporaryDirectory(prefix="mgral-") as name:
        folder = Path(name)
        try:
            spawn(_work, (count, backend, folder, pickle.dumps((function, arguments))), count)  # type: ignore[no-untyped-call]
        except (ProcessRaisedException, ProcessExitedException) as failure:
            if (folder / ERROR).exists():
                raise pickle.loads((folder / ERROR).read_bytes()) from None
            raise StepError(_explain(failure, f"{title}: process {failure.error_index + 1} of {count}")) from None
        return pickle.loads((folder / RESULT).read_bytes())


def _explain(failure: ProcessRaisedException | ProcessExitedException, which: str) -> str:
    if isinstance(failure, ProcessRaisedException):
        print(failure.msg, file=sys.stderr)
        return f"{which} failed: {failure.msg.strip().splitlines()[-1]}"
    ended = failure.signal_name or f"exit code {failure.exit_code}"
    return (
        f"{which} ended with {ended}; run the step again, with more memory if it had too little, and it goes on from "
        "its last checkpoint"
    )


def _work(number: int, count: int, backend: str, folder: Path, call: bytes) -> None:
    # Sent by the system when the parent dies (see torch.multiprocessing); ends a process that waits for another too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = parent_process()
    if parent is None or not parent.is_alive():  # it died before this
        return
    # Gloo would look for the address of the host's name. The first interface is the loopback, under any name.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", socket.if_indextoname(1))
    if backend == "nccl":
        torch.cuda.set_device(number)
    # The processes find each other by a file, so that no port has to be free.
    dist.init_process_group(backend, init_method=f"file://{folder / MEETING}", rank=number, world_size=count)
    function, arguments = pickle.loads(call)
    try:
        result = function(*arguments)
    except (InputError, StepError) as error:
        (folder / f".{number}").write_bytes(pickle.dumps(error))
        (folder / f".{number}").rename(folder / ERROR)
        raise
    if number == 0:
        (folder / RESULT).write_bytes(pickle.dumps(result))
    dist.destroy_process_group()
