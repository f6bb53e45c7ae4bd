"""What can be known of this machine's GPUs without torch: asked by the workflow before its first job."""

import os
import re
from importlib import metadata

from mgral.errors import InputError

DEVICE_VARIABLE = "MGRAL_DEVICE"
"""With the value `cpu` every step works on the processor, however many GPUs it is given."""
HELP = (
    f"With the environment variable {DEVICE_VARIABLE}=cpu a step works on the CPU, however many GPUs it is given, to "
    "try a cluster's set-up without any."
)
"""What the help of every step that can use a GPU says of this."""

KEPT_IMAGES_MB = 512
"""What the images of a training may take of a GPU's memory for its length, in MiB."""


def only_cpu() -> bool:
    """Return whether the environment keeps the steps off the GPUs; raises InputError for a value unknown."""
    value = os.environ.get(DEVICE_VARIABLE, "")
    if value not in ("", "cpu"):
        raise InputError(
            f"{DEVICE_VARIABLE} is {value!r}; set it to cpu, or unset it for the GPUs that are asked for"
        )
    return value == "cpu"


def present_gpus() -> int:
    """Return how many GPUs of NVIDIA this machine has; 0 where its driver does not answer."""
    import pynvml  # here, as most processes do without

    try:
        return _ask_driver()[0]
    except pynvml.NVMLError:
        return 0


def check_gpus(wanted: int) -> None:
    """Check that this machine has so many GPUs, and a driver that torch can use.

    Raises
    ------
    InputError
        Where there is no NVIDIA driver or it fails, shows fewer GPUs, or is older than the CUDA of torch.
    """
    if only_cpu() or wanted == 0:
        return
    import pynvml

    try:
        present, version = _ask_driver()
    except pynvml.NVMLError_LibraryNotFound:
        raise InputError(
            f"{_asked(wanted)}, but this machine has no NVIDIA driver; install one, or {_without()}"
        ) from None
    except pynvml.NVMLError as error:
        raise InputError(
            f"{_asked(wanted)}, but the NVIDIA driver fails ({error}); repair it, or {_without()}"
        ) from None
    if present < wanted:
        raise InputError(f"{_asked(wanted)}, but this machine has {present}; lower gpu, or {_without()}")
    # A driver runs what was built for its own major version of CUDA, or an earlier one.
    supported, needed = version // 1000, cuda_of_torch()
    if needed and supported < int(needed):
        raise InputError(
            f"the NVIDIA driver is too old: it goes up to CUDA {supported}, and torch was built for {needed}; "
            f"update the driver, or {_without()}"
        )


def _ask_driver() -> tuple[int, int]:
    """Return the number of GPUs, and a thousand times the version of CUDA that the driver goes up to."""
    import pynvml

    pynvml.nvmlInit()
    try:
        return pynvml.nvmlDeviceGetCount(), pynvml.nvmlSystemGetCudaDriverVersion()
    finally:
        pynvml.nvmlShutdown()


def cuda_of_torch() -> str | None:
    """Return the major version of CUDA that the installed torch was built for; None where it does not say."""
    for requirement in metadata.requires("torch") or []:
        if found := re.match(r"(?:cuda-toolkit|nvidia-cuda-runtime)\b[^;=]*==(\d+)", requirement):
            return found[1]
    return None


def _asked(wanted: int) -> str:
    return f"jobs are given {wanted} GPU{'s'[: wanted > 1]} (resource gpu, by --set-resources or the profile)"


def _without() -> str:
    return f"run without, by gpu=0 or {DEVICE_VARIABLE}=cpu"
