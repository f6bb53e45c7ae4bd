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
    steps: dict[str, set[str]] = defaultdict(set)
    for place in sorted((results / RECORDS).rglob("*.json")):
        record = parse_record(place) or {}
        arguments = record.get("arguments", {})
        # A choice without a detector, such as a random one, uses no GPU.
        if "gpus" in arguments and (record["step"] != "select" or "detector" in arguments):
            gpu = record["machine"]["gpu"]
            steps[record["step"]].add(CPU if gpu == NOT_USED else gpu)
    devices = sorted(set().union(*steps.values()), key=lambda device: (device == CPU, device))
    if devices in ([], [CPU]):
        return ""
    parts = []
    for device in devices:
        on_it = sorted(step for step, used in steps.items() if device in used)
        named = "" if len(on_it) == len(steps) else f" ({', '.join(on_it)})"
        parts.append(f"{device}: {len(on_it)} of {len(steps)} steps{named}")
    mixed = sorted(step for step, used in steps.items() if len(used) > 1)
    note = f". Not all on one device, so that scores may differ by rounding: {', '.join(mixed)}" if mixed else ""
    return "; ".join(parts) + note
