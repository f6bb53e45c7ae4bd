"""What may be labelled in a cycle: a number of images, or of boxes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Tag

from mgral.config.section import Count, Section
from mgral.errors import InputError

FORMS = ("a number", "unit and amount")
"""The two ways to write a budget, as the places of errors name them."""


class BudgetConfig(Section):
    """The budget of each cycle."""

    unit: Literal["images", "boxes"]
    """With `boxes`, an image costs as many boxes as it has labels, and 1 if it has none. The remainder or excess of a
    cycle counts in the next one."""
    amount: Count
    """Images or boxes in each cycle."""


def _form(given: Any) -> str:
    return FORMS[isinstance(given, dict | BudgetConfig)]


def _short(given: int | BudgetConfig) -> int | BudgetConfig:
    """Return a number for a budget in images, so that it is written in one way only."""
    return given.amount if isinstance(given, BudgetConfig) and given.unit == "images" else given


Budget = Annotated[
    Annotated[Count, Tag(FORMS[0])] | Annotated[BudgetConfig, Tag(FORMS[1])],
    Discriminator(_form),
    AfterValidator(_short),
]
"""A number of images, or the `BudgetConfig` of a number of boxes."""


def unit_of(budget: int | BudgetConfig) -> str:
    """Return what a budget counts."""
    return budget.unit if isinstance(budget, BudgetConfig) else "images"


def in_words(budget: int | BudgetConfig) -> str:
    """Return a budget with its unit: `40 images`."""
    return f"{budget.amount if isinstance(budget, BudgetConfig) else budget} {unit_of(budget)}"


def images_in(budget: int | BudgetConfig) -> int:
    """Return the images of a budget.

    Raises
    ------
    InputError
        Where it is in boxes: `mgral.selection.spending.in_images` turns it into images, by labels that are paid.
    """
    if isinstance(budget, BudgetConfig):
        raise InputError(
            f"budget: {in_words(budget)} are no number of images; turn the configuration into images first "
            "(mgral.in_images), or give images"
        )
    return budget
