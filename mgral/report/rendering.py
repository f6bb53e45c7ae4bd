"""How the pages become HTML: templates, style and the strategies' colours."""

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mgral.config import Config
from mgral.report.styles import strategy_styles


def render(template: str, filters: Mapping[str, Callable[..., str]], config: Config, **values: Any) -> str:
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
    colours = {name: style.colour for name, style in strategy_styles(config).items()}
    environment.globals |= {"style": Markup(style), "markup": Markup, "colours": colours}
    return environment.get_template(template).render(config=config, **values) + "\n"
