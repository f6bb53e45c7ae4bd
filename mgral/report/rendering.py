"""How the pages become HTML: templates, style and the strategies' colours.

Without matplotlib, which takes a second to import: the Snakefile renders the page of timings itself.
"""

from collections.abc import Callable, Mapping
from importlib import resources
from itertools import cycle
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mgral.config import registry

# Okabe and Ito's palette, which stays apart under the common colour deficiencies; random is grey as the baseline.
_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#7B3FA0", "#3B3B3B", "#B2182B")
_OTHERS = [name for name in registry.strategies() if name not in ("mgral", "random")]
STRATEGY_COLOURS = {"mgral": "#D55E00", "random": "#6E6E6E"} | dict(zip(_OTHERS, cycle(_COLOURS), strict=False))
"""More strategies than colours that stay apart: what repeats has another marker."""


def render(template: str, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """Fill in a template of this package with values, which are escaped; it may use `filters` on them."""
    environment = Environment(
        loader=PackageLoader("mgral.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    style = resources.files("mgral.report").joinpath("style.css").read_text(encoding="utf-8")
    environment.globals |= {"style": Markup(style), "markup": Markup, "colours": STRATEGY_COLOURS}
    return environment.get_template(template).render(**values) + "\n"
