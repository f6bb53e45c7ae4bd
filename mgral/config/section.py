"""What every part of the configuration has in common."""

import re
from os.path import expanduser
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mgral.errors import InputError

PathText = Annotated[str, AfterValidator(expanduser)]
"""A path, in which a leading `~` is replaced by the home folder; or a URL or name, which stays as it is."""
Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
"""A number of things, or a size in pixels. The upper limit only catches typing errors."""
LONGEST_NAME = 100
"""Characters of a name. A log on a cluster has the names of experiment and strategy in its own, of 255 at most."""


def no_repetition(name: str) -> str:
    """Return the name; raises ValueError if its end repeats so often that Snakemake suspects an endless recursion."""
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


def require_set(value: Value | None, key: str) -> Value:
    """Return a setting; raises InputError if it is null, because it must be derived from the data first."""
    if value is None:
        raise InputError(
            f"{key}: is null and not derived from the data yet; set it, or give --derived FILE, as the steps "
            "`input_size` and `derive` write it"
        )
    return value
