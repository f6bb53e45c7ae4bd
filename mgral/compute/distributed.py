"""One training in several processes, with a share of every batch in each, by torch's DistributedDataParallel."""

import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing import parent_process
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from mgral.errors import InputError, StepError


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


def mean_over_processes(values: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, without a gradient; DistributedDataParallel averages so too."""
    if processes() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / processes()


def run_processes(count: int, backend: str, title: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in so many new processes of this machine, by torchrun, and return what the first one returns.

    If one fails the others are ended; if this process is killed, so are they (on Linux).

    Parameters
    ----------
    backend
        Backend of torch.distributed: nccl, with one GPU for each process, or gloo.
    title
        The step, for messages.
    function, arguments
        Must be picklable, and so must the returned value.

    Raises
    ------
    InputError, StepError
        As the function raised it; StepError where a process failed otherwise, or was killed.
    """
    for name in ("torch.distributed.elastic", "torch.multiprocessing"):  # what they log of a failure is raised too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with TemporaryDirectory(prefix="mgral-") as logs:
        launch = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=title,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",  # any port that is free
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(logs),
        )
        try:
            return elastic_launch(launch, _run_worker)(backend, pickle.dumps((function, arguments)))[0]
        except ChildFailedError as failed:
            raise _as_one_error(failed, title, count) from None
        except SignalException as stop:
            sys.exit(128 + stop.sigval)


def _as_one_error(failed: ChildFailedError, title: str, count: int) -> InputError | StepError:
    """Return the error of the first process that failed, as it raised it, if it is one of these; else a StepError."""
    number, failure = failed.get_first_failure()
    which = f"{title}: process {number + 1} of {count}"
    if failure.exitcode < 0:
        return StepError(
            f"{which} ended with {failure.signal_name()}; run the step again, with more memory if it had too little, "
            "and it goes on from its last checkpoint"
        )
    message: Any = failure.message
    kind, _, text = message["message"].partition(": ")
    for error_class in (InputError, StepError):
        if kind == error_class.__name__:
            return error_class(text)
    print(message["extraInfo"]["py_callstack"], file=sys.stderr)
    return StepError(f"{which} failed: {kind}: {text}")


def _run_worker(backend: str, pickled_call: bytes) -> Any:
    """Run the pickled function in a process of its own, joined to the others, and return its result."""
    # Sent by the system when the parent dies (see torch.multiprocessing); ends a process that waits for another too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = parent_process()
    if parent is None or not parent.is_alive():  # it died before this
        sys.exit(1)
    # Gloo would look for the address of the host's name. The first interface is the loopback, under any name.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", socket.if_indextoname(1))
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(backend)
    try:
        function, arguments = pickle.loads(pickled_call)
        return function(*arguments)
    finally:
        dist.destroy_process_group()
