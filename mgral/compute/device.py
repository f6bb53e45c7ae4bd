"""Where a step computes: the processor, or GPUs that it is given."""

import ctypes
import os
import warnings
from contextlib import suppress
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from mgral.compute.gpus import DEVICE_VARIABLE, KEPT_IMAGES_MB, only_cpu
from mgral.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
KEPT_BYTES = 2**28
"""Tensors up to this size take memory again that was freed; at most twice as much of it stays unused for long."""


def choose_device(gpus: int) -> torch.device:
    """Return the device of a step that is given so many GPUs: the CPU where that is none.

    On the CPU this process keeps the memory that it frees (`keep_freed_memory`). For GPUs torch is set to what gives
    the same bits again, which is slower. None of them is touched yet.

    Raises
    ------
    InputError
        Where there are fewer GPUs, or none that torch can use.
    """
    if only_cpu() or gpus == 0:
        keep_freed_memory()
        return torch.device("cpu")
    _check(gpus)
    compute_deterministically()
    return torch.device("cuda")


def keep_freed_memory() -> None:
    """Let the C library keep for this process what it frees, where that library is glibc.

    Otherwise each tensor of some size asks the kernel for empty pages again, which took up to a third of a training.
    """
    with suppress(AttributeError, OSError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, 2 * KEPT_BYTES)


def _check(gpus: int) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    without = f"run with --gpus 0 or {DEVICE_VARIABLE}=cpu"
    if any("too old" in str(one.message) for one in said):
        raise InputError(
            f"--gpus {gpus}: the NVIDIA driver is too old for torch {torch.__version__}, built for CUDA "
            f"{torch.version.cuda}; update the driver, or {without}"
        )
    if not usable:
        raise InputError(
            f"--gpus {gpus}: torch {torch.__version__} finds no CUDA device; give the job one that it can see "
            f"(driver, CUDA_VISIBLE_DEVICES, in a container --nv), or {without}"
        )
    if torch.cuda.device_count() < gpus:
        raise InputError(f"--gpus {gpus}: there are {torch.cuda.device_count()}; lower --gpus, or {without}")


def compute_deterministically() -> None:
    """Let a GPU compute in full single precision, and give the same bits each time."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(True)
    # Else torch fills each new tensor of a GPU first, so that nobody reads what nothing wrote: a launch for each.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"


def fixed_shapes(device: torch.device) -> bool:
    """Report whether a device computes what is not needed too, so that no shape depends on numbers: all but the CPU.

    To know such a shape the processor waits for a GPU, which then has nothing to do. On a CPU it saves most of the
    work.
    """
    return device.type != "cpu"


def image_memory(device: torch.device) -> int:
    """Return the bytes that the images of a training may take of a GPU for its length; none of another device.

    A 64th of its memory, and `KEPT_IMAGES_MB` at most, so that many trainings can share a card.
    """
    if device.type != "cuda":
        return 0
    return int(min(torch.cuda.get_device_properties(device).total_memory // 64, KEPT_IMAGES_MB * 2**20))


@cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return numbers as float32 on a device, copied there once: each copy waits for what a GPU was told before."""
    return torch.tensor(values, device=device)


def fast_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """Return the number type in which a device trains fastest: bfloat16 only where it has instructions for it."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if torch.cpu.get_capabilities().get("avx512_bf16") else "float32"
