"""What every part of the configuration has in common."""

import re
from os.path import expanduser
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mgral.errors import InputError

PathText = Annotated[str, AfterValidator(expanduser)]
"""A path, or something else that does not begin with `~`, the home folder."""
Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
"""A number of things, or a size; whatever is larger is a slip."""
LONGEST_NAME = 100
"""Letters of a name: logs on a cluster have that of the experiment and of a strategy in one file name of 255."""


def no_repetition(name: str) -> str:
    """Return the name; raise ValueError where Snakemake would take it for one that a rule makes longer and longer."""
    if re.search(r"(.+)\1{19}$", name):
        raise ValueError(f"the name {name} ends in the same letters twenty times; choose another")
    return name


Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=LONGEST_NAME),
    AfterValidator(no_repetition),
]


class Section(BaseModel):
    """A part of the configuration: unknown keys and silently converted types are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


Value = TypeVar("Value")


def known(value: Value | None, key: str) -> Value:
    """Return a setting; raise InputError where it is null, and so to be derived from the data first."""
    if value is None:
        raise InputError(
            f"{key}: is null and not derived from the data yet; set it, or give --derived FILE, as the steps "
            "`input_size` and `derive` write it"
        )
    return value
