"""What may be labelled in a cycle: a number of images, or of boxes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Tag

from mgral.config.section import Count, Section
from mgral.errors import InputError

FORMS = ("a number", "unit and amount")
"""Names of the two forms of a budget. pydantic puts them into the location of an error; `explain` removes them."""


class BudgetConfig(Section):
    """The budget of each cycle."""

    unit: Literal["images", "boxes"]
    """With `boxes`, an image costs as many boxes as it has labels, and 1 if it has none. The remainder or excess of a
    cycle counts in the next one."""
    amount: Count
    """Images or boxes in each cycle."""


def _form_of(budget: Any) -> str:
    """Return the name of the form in which a budget is written."""
    return FORMS[isinstance(budget, dict | BudgetConfig)]


def _simplified(budget: int | BudgetConfig) -> int | BudgetConfig:
    """Return a budget in images as a plain number, so that config.yaml has one form of it."""
    return budget.amount if isinstance(budget, BudgetConfig) and budget.unit == "images" else budget


Budget = Annotated[
    Annotated[Count, Tag(FORMS[0])] | Annotated[BudgetConfig, Tag(FORMS[1])],
    Discriminator(_form_of),
    AfterValidator(_simplified),
]
"""A number of images, or the `BudgetConfig` of a number of boxes."""


def unit_of(budget: int | BudgetConfig) -> str:
    """Return the unit of a budget, `images` or `boxes`."""
    return budget.unit if isinstance(budget, BudgetConfig) else "images"


def in_words(budget: int | BudgetConfig) -> str:
    """Return a budget with its unit: `40 images`."""
    return f"{budget.amount if isinstance(budget, BudgetConfig) else budget} {unit_of(budget)}"


def images_in(budget: int | BudgetConfig) -> int:
    """Return a budget in images as a number.

    Raises
    ------
    InputError
        If the budget is in boxes; `mgral.selection.spending.in_images` converts it first.
    """
    if isinstance(budget, BudgetConfig):
        raise InputError(
            f"budget: {in_words(budget)} are no number of images; turn the configuration into images first "
            "(mgral.in_images), or give images"
        )
    return budget
