"""How the pages become HTML: templates, style, script and the strategies' colours."""

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mgral.config import Config
from mgral.report.styles import strategy_styles


def environment(package: str) -> Environment:
    """Return Jinja's environment for the templates of a package, and those of this one; values are escaped."""
    jinja_environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("mgral.report", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    package_files = resources.files("mgral.report")
    style, script = (
        Markup(package_files.joinpath(name).read_text(encoding="utf-8")) for name in ("style.css", "page.js")
    )
    jinja_environment.globals |= {"style": style, "script": script, "markup": Markup, "colours": {}}
    return jinja_environment


def render(template: str, filters: Mapping[str, Callable[..., str]], config: Config, **values: Any) -> str:
    """Fill in a template of this package with values, which are escaped; it may use `filters` on them."""
    jinja_environment = environment("mgral.report")
    jinja_environment.filters |= filters
    jinja_environment.globals["colours"] = {name: style.colour for name, style in strategy_styles(config).items()}
    return jinja_environment.get_template(template).render(config=config, **values) + "\n"
