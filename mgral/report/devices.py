"""On which devices the steps of an experiment ran, by the records that they left."""

from collections import defaultdict
from pathlib import Path

from mgral.artefacts.integrity import RECORDS, parse_record

CPU = "CPU"
NOT_USED = "not used"
"""What the record of a step on the CPU says of a GPU."""


def devices_used(results: Path) -> str:
    """Return which steps ran on which device; empty where all ran on the CPU, so that a page then has the same bytes.

    Only steps that can use a GPU count. A step whose jobs ran on several devices is named as such.

    Parameters
    ----------
    results
        Folder of the experiment.
    """
    devices_by_step: dict[str, set[str]] = defaultdict(set)
    for path in sorted((results / RECORDS).rglob("*.json")):
        record = parse_record(path) or {}
        arguments = record.get("arguments", {})
        # A choice without a detector, such as a random one, uses no GPU.
        if "gpus" in arguments and (record["step"] != "select" or "detector" in arguments):
            gpu = record["machine"]["gpu"]
            devices_by_step[record["step"]].add(CPU if gpu == NOT_USED else gpu)
    devices = sorted(set().union(*devices_by_step.values()), key=lambda device: (device == CPU, device))
    if devices in ([], [CPU]):
        return ""
    parts = []
    for device in devices:
        on_device = sorted(step for step, step_devices in devices_by_step.items() if device in step_devices)
        step_names = "" if len(on_device) == len(devices_by_step) else f" ({', '.join(on_device)})"
        parts.append(f"{device}: {len(on_device)} of {len(devices_by_step)} steps{step_names}")
    mixed = sorted(step for step, step_devices in devices_by_step.items() if len(step_devices) > 1)
    note = f". Not all on one device, so that scores may differ by rounding: {', '.join(mixed)}" if mixed else ""
    return "; ".join(parts) + note
