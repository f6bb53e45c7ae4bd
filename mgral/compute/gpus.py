"""What can be known of this machine's GPUs without torch: asked by the workflow before its first job."""

import os
import re
import subprocess
from importlib import metadata

from mgral.errors import InputError

DEVICE_VARIABLE = "MGRAL_DEVICE"
"""With the value `cpu` every step works on the processor, however many GPUs it is given."""
HELP = (
    f"With the environment variable {DEVICE_VARIABLE}=cpu a step works on the CPU, however many GPUs it is given, to "
    "try a cluster's set-up without any."
)
"""What the help of every step that can use a GPU says of this."""


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
    try:
        shown = subprocess.run(["nvidia-smi", "--list-gpus"], text=True, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    return sum(line.startswith("GPU ") for line in shown.stdout.splitlines())


def check_gpus(wanted: int) -> None:
    """Check that this machine has so many GPUs, and a driver that torch can use.

    Raises
    ------
    InputError
        Where `nvidia-smi` is missing or fails, shows fewer GPUs, or a driver older than the CUDA of torch.
    """
    if only_cpu() or wanted == 0:
        return
    try:
        shown = subprocess.run(["nvidia-smi", "-q", "-d", "COMPUTE"], text=True, capture_output=True, check=True)
    except OSError:
        raise InputError(
            f"{_asked(wanted)}, but this machine has no nvidia-smi, and so no NVIDIA driver; "
            f"install one, or {_without()}"
        ) from None
    except subprocess.CalledProcessError as error:
        said = (error.stdout + error.stderr).strip().splitlines() or [f"exit code {error.returncode}"]
        raise InputError(
            f"{_asked(wanted)}, but nvidia-smi fails ({said[-1]}); repair the driver, or {_without()}"
        ) from None
    present = int(_number("Attached GPUs", shown.stdout) or 0)
    if present < wanted:
        raise InputError(f"{_asked(wanted)}, but this machine has {present}; lower gpu, or {_without()}")
    # A driver runs what was built for its own major version of CUDA, or an earlier one.
    supported, needed = _number(r"CUDA[\w ]* Version", shown.stdout), cuda_of_torch()
    if supported and needed and int(supported) < int(needed):
        raise InputError(
            f"the NVIDIA driver is too old: it goes up to CUDA {supported}, and torch was built for {needed}; "
            f"update the driver, or {_without()}"
        )


def cuda_of_torch() -> str | None:
    """Return the major version of CUDA that the installed torch was built for; None where it does not say."""
    for requirement in metadata.requires("torch") or []:
        if found := re.match(r"(?:cuda-toolkit|nvidia-cuda-runtime)\b[^;=]*==(\d+)", requirement):
            return found[1]
    return None


def _number(name: str, text: str) -> str | None:
    found = re.search(rf"^{name}\s*: (\d+)", text, flags=re.MULTILINE)
    return found[1] if found else None


def _asked(wanted: int) -> str:
    return f"jobs are given {wanted} GPU{'s'[: wanted > 1]} (resource gpu, by --set-resources or the profile)"


def _without() -> str:
    return f"run without, by gpu=0 or {DEVICE_VARIABLE}=cpu"
