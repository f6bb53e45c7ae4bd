"""How the pages become HTML: templates, style and the strategies' colours.

Without matplotlib, which takes a second to import: the Snakefile renders the page of timings itself.
"""

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

# Okabe and Ito's palette, which stays apart under the common colour deficiencies; random is grey as the baseline.
STRATEGY_COLOURS = {"mgral": "#D55E00", "random": "#6E6E6E", "entropy": "#0072B2"}


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
