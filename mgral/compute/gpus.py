"""What can be known of this machine's GPUs without torch: asked by the workflow before its first job."""

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from mgral.errors import InputError

DEVICE_VARIABLE = "MGRAL_DEVICE"
"""With the value `cpu` every step works on the processor, however many GPUs it is given."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable with the cards of a process; set by a person, a scheduler or `mgral.compute.cards`."""
HELP = (
    f"With the environment variable {DEVICE_VARIABLE}=cpu a step runs on the CPU, whatever --gpus is, to test a "
    "cluster's set-up without GPUs."
)
"""Text about MGRAL_DEVICE in the help of every step that can use a GPU."""

KEPT_IMAGES_MB = 512
"""Largest memory of a GPU that the images of a training may occupy until its end, in MiB."""


def only_cpu() -> bool:
    """Return whether the environment keeps the steps off the GPUs; raises InputError for a value unknown."""
    value = os.environ.get(DEVICE_VARIABLE, "")
    if value not in ("", "cpu"):
        raise InputError(
            f"{DEVICE_VARIABLE} is {value!r}; set it to cpu, or unset it for the GPUs that are asked for"
        )
    return value == "cpu"


class Card(NamedTuple):
    """A GPU, or a part of one that the driver shows as a device (MIG)."""

    name: str
    """Its UUID, for CUDA_VISIBLE_DEVICES."""
    model: str
    memory_mb: int
    """All of its memory, in MiB."""


def find_cards() -> list[Card]:
    """Return the cards that this process may use: those of CUDA_VISIBLE_DEVICES, if it is set, or all.

    Numbers in it are those of `nvidia-smi`, and UUIDs may be shortened. An entry that names no card ends the list, as
    in CUDA. If a card is divided (MIG), name its parts.

    Raises
    ------
    InputError
        Where there is none that torch can use, with the reason and, behind a semicolon, what to do.
    """
    import pynvml  # here, as most processes do without

    try:
        pynvml.nvmlInit()
        try:
            all_cards = [_read_card(handle) for handle in _visible()]
            supported = pynvml.nvmlSystemGetCudaDriverVersion() // 1000
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError_LibraryNotFound:
        raise InputError("this machine has no NVIDIA driver; install one") from None
    except pynvml.NVMLError as error:
        raise InputError(f"the NVIDIA driver fails ({error}); repair it") from None
    cards = [card for card in all_cards if card.memory_mb]
    if all_cards and not cards:
        raise InputError(f"the NVIDIA driver says that {all_cards[0].model} has no memory; repair it")
    if not cards:
        visible = os.environ.get(VISIBLE)
        reason = "this machine has no GPU" if visible is None else f"{VISIBLE}={visible} names none of this machine"
        raise InputError(f"{reason}; {'install one' if visible is None else 'correct it'}")
    if len({card.name for card in cards}) < len(cards):
        raise InputError(f"{VISIBLE}={os.environ[VISIBLE]} names a GPU twice, and CUDA then shows none; correct it")
    needed = cuda_of_torch()
    if needed is None:
        raise InputError("torch was built without CUDA; install one that was built with it")
    # A driver runs what was built for its own major version of CUDA, or an earlier one.
    if supported < int(needed):
        raise InputError(
            f"the NVIDIA driver is too old: it goes up to CUDA {supported}, and torch was built for {needed}; "
            "update the driver"
        )
    return cards


def check_gpus(gpus: int) -> None:
    """Check that this machine has so many GPUs, and a driver that torch can use; raises InputError."""
    if only_cpu() or gpus == 0:
        return
    try:
        present = len(find_cards())
    except InputError as error:
        raise InputError(f"{_gpus_asked_for(gpus)}, but {error}, or {_advice_without_gpu()}") from None
    if present < gpus:
        raise InputError(
            f"{_gpus_asked_for(gpus)}, but this machine has {present}; lower gpu, or {_advice_without_gpu()}"
        )


def _visible() -> Iterator[Any]:
    """Yield NVML's handles of the cards that may be used, in their order."""
    import pynvml

    handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    visible = os.environ.get(VISIBLE)
    if visible is None:
        yield from handles
        return
    for name in map(str.strip, visible.split(",")):
        if name.isdecimal():
            matching = handles[int(name) :][:1]
        elif name.startswith("MIG-"):
            try:
                matching = [pynvml.nvmlDeviceGetHandleByUUID(name)]
            except pynvml.NVMLError:
                return
        else:
            matching = [handle for handle in handles if name and pynvml.nvmlDeviceGetUUID(handle).startswith(name)]
        if len(matching) != 1:
            return
        yield matching[0]


def _read_card(handle: Any) -> Card:
    """Return the card of a handle of NVML."""
    import pynvml

    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    except pynvml.NVMLError_NotSupported:  # it shares the machine's
        memory = psutil.virtual_memory().total
    return Card(pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle), memory // 2**20)


def cuda_of_torch() -> str | None:
    """Return the major version of CUDA that the installed torch was built for, such as `13`; None without CUDA."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    version = Path(spec.origin).with_name("version.py").read_text()  # importing torch takes seconds
    match = re.search(r"^cuda\b.*= '(\d+)", version, re.MULTILINE)
    return match[1] if match else None


def _gpus_asked_for(gpus: int) -> str:
    """Return how a message begins that jobs are given so many GPUs."""
    return f"jobs are given {gpus} GPU{'s'[: gpus > 1]} (resource gpu, by --set-resources or the profile)"


def _advice_without_gpu() -> str:
    """Return how to run without a GPU."""
    return f"run without, by gpu=0 or {DEVICE_VARIABLE}=cpu"
