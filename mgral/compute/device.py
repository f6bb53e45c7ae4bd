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
"""Parameters of `mallopt`, from glibc's malloc.h."""
KEPT_BYTES = 2**28
"""Tensors up to this size, in bytes, reuse freed memory; at most twice as much of it is kept at the heap's end."""


def choose_device(gpus: int) -> torch.device:
    """Return the device of a step that is given `gpus` GPUs: the CPU for 0, or if MGRAL_DEVICE is cpu.

    On the CPU this process keeps the memory that it frees (`keep_freed_memory`). For GPUs torch is set to
    deterministic algorithms, which are slower. No memory of a GPU is taken yet.

    Raises
    ------
    InputError
        If there are fewer GPUs, or if torch cannot use them.
    """
    if only_cpu() or gpus == 0:
        keep_freed_memory()
        return torch.device("cpu")
    _check_gpus(gpus)
    compute_deterministically()
    return torch.device("cuda")


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for this process; with another C library nothing changes.

    Otherwise each large tensor asks the kernel for new pages, which took up to a third of a training's time.
    """
    with suppress(AttributeError, OSError):  # another C library
        library = ctypes.CDLL(None)
        # Some versions refuse more than 32 MiB, and would then keep the threshold small.
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) or library.mallopt(M_MMAP_THRESHOLD, 1 << 25)
        library.mallopt(M_TRIM_THRESHOLD, 2 * KEPT_BYTES)


def _check_gpus(gpus: int) -> None:
    """Raise InputError where torch cannot use so many GPUs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    alternative = f"run with --gpus 0 or {DEVICE_VARIABLE}=cpu"
    if any("too old" in str(warning.message) for warning in caught):
        raise InputError(
            f"--gpus {gpus}: the NVIDIA driver is too old for torch {torch.__version__}, built for CUDA "
            f"{torch.version.cuda}; update the driver, or {alternative}"
        )
    if not usable:
        raise InputError(
            f"--gpus {gpus}: torch {torch.__version__} finds no CUDA device; give the job one that it can see "
            f"(driver, CUDA_VISIBLE_DEVICES, in a container --nv), or {alternative}"
        )
    if torch.cuda.device_count() < gpus:
        raise InputError(f"--gpus {gpus}: there are {torch.cuda.device_count()}; lower --gpus, or {alternative}")


def compute_deterministically() -> None:
    """Let a GPU compute in full single precision, and give the same bits each time."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(True)
    # Otherwise torch fills each new GPU tensor, in case it is read before it is written: a kernel launch for each.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"


def fixed_shapes(device: torch.device) -> bool:
    """Return whether shapes of tensors must not depend on the values of tensors: on every device but the CPU.

    To know such a shape the processor would wait for the GPU, which is idle meanwhile. So all anchors are computed
    there, even those that do not count. On a CPU leaving these out saves most of the work.
    """
    return device.type != "cpu"


def image_memory(device: torch.device) -> int:
    """Return how many bytes of a GPU the images of a training may occupy until its end; 0 for other devices.

    It is a 64th of the GPU's memory, but at most `KEPT_IMAGES_MB`, so that many trainings can share a card.
    """
    if device.type != "cuda":
        return 0
    return int(min(torch.cuda.get_device_properties(device).total_memory // 64, KEPT_IMAGES_MB * 2**20))


@cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return numbers as a float32 tensor on a device. It is cached, as a copy to a GPU waits for all earlier work."""
    return torch.tensor(values, device=device)


def fast_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """Return the number type in which a device trains fastest: bfloat16 if it has instructions for it."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if torch.cpu.get_capabilities().get("avx512_bf16") else "float32"
