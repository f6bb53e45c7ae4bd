"""What every part of the configuration has in common."""

from os.path import expanduser
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

PathText = Annotated[str, AfterValidator(expanduser)]
"""A path, or something else that does not begin with `~`, the home folder."""
Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Section(BaseModel):
    """A part of the configuration: unknown keys and silently converted types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
