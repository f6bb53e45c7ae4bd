"""Faults of a configuration in plain words."""

from typing import Any, Literal, get_args, get_origin

from mgral.config.budget import FORMS
from mgral.config.detectors import detectors
from mgral.errors import program

RENAMED = {
    "agent.reference": "agent.baseline",
    "agent.reference_decay": "agent.baseline_decay",
}
"""Keys of earlier versions."""
RENAMED_VALUES = {
    ("lut.labels", "teacher"): "pseudo_labels",
    ("lut.labels", "semi_supervised"): "consistency",
    ("lut.labels", "labelled_subsets"): "labels",
}
"""Values of earlier versions."""
FORMATS = ("synthetic", "voc", "coco", "yolo", "project")
"""Values of `data.format`."""


def explain(error: dict[str, Any], version: int = 2, keys: str = f"`{program()} config --schema`") -> str:
    """Return a fault that pydantic found as a line: the key, what is wrong, and what to do.

    Parameters
    ----------
    version
        That of the keys.
    keys
        What lists all of them.
    """
    place = error["loc"]
    if place[:1] == ("data",) and place[1:2] and place[1] in FORMATS:  # which pydantic puts between section and key
        place = (place[0], *place[2:])
    key = ".".join(str(part) for part in place if part not in FORMS)
    section = ".".join(key.split(".")[-2:])  # of the experiment, or of an instance
    if section in RENAMED:
        return f"{key}: is now {key.removesuffix(section)}{RENAMED[section]}; rename it"
    if isinstance(error["input"], str) and (section, error["input"]) in RENAMED_VALUES:
        return f"{key}: {error['input']} is now {RENAMED_VALUES[section, error['input']]}; rename it"
    if key == "version":
        return (
            f"version: this mgral reads version {version}, found {error['input']!r}; rename what it names, and set it"
        )
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct it ({keys} lists all)"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1] == "[key]":
        return f"{key.removesuffix('.[key]')}: a name has only letters, digits, `_` and `-`; rename it"
    if error["type"] == "string_too_long":
        limit = error["ctx"]["max_length"]
        length = len(error["input"])
        return f"{key.removesuffix('.[key]')}: a name has at most {limit} letters, found {length}; shorten it"
    if error["type"] == "tuple_type":
        return f"{key}: is a list, found {error['input']!r}; write it as [{error['input']}]"
    if error["type"] == "int_type" and isinstance(error["input"], float) and error["input"].is_integer():
        return f"{key}: an integer has no point and no exponent; write {error['input']:.0f}"
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        return f"{key}: YAML reads this name as {error['input']!r}, which is no text; put it in quotes"
    if error["type"] == "union_tag_invalid":
        return f"{key}.format: there is no format {error['ctx']['tag']!r}; choose from {', '.join(FORMATS)}"
    if error["type"] == "union_tag_not_found":
        return f"{key}.format: is required; add one of {', '.join(FORMATS)}"
    if error["type"] == "missing":
        return f"{key}: is required; add it{_described(error)}"
    return f"{key}: {error['msg']}, found {error['input']!r}; correct the value"


def _described(error: dict[str, Any]) -> str:
    """Return description and choices of a missing setting of a detector; an empty text for other sections."""
    loc, values = error["loc"], error["input"]
    section = detectors().get(str(values.get("name"))) if loc[0] == "detector" and isinstance(values, dict) else None
    field = section.model_fields.get(loc[-1]) if section else None
    if field is None:
        return ""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    meaning = f" ({' '.join(field.description.split()).removesuffix('.')})" if field.description else ""
    return meaning + (f": {', '.join(choices)}" if choices else "")
