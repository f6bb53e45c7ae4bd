"""The colour and the marker of each strategy, by its place in the configuration, and the colours of classes.

Without matplotlib, which takes a second to import: the Snakefile renders the page of timings itself.
"""

import colorsys
from itertools import cycle, islice
from typing import NamedTuple

from mgral.config import Config

# Okabe and Ito's palette, whose colours stay different under the common colour deficiencies.
_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#7B3FA0", "#3B3B3B", "#B2182B")
_CLASS_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
_MARKERS = "^DvP*X<>dhp"


class Style(NamedTuple):
    """How a strategy is drawn; where a colour repeats, the marker differs."""

    colour: str
    marker: str


METHOD = Style("#D55E00", "o")
"""Style of the main method: orange."""
BASELINE = Style("#6E6E6E", "s")
"""Style of the first instance of random: grey."""


def strategy_styles(config: Config) -> dict[str, Style]:
    """Return how each instance is drawn; the main method is orange wherever it stands in the list."""
    special = dict.fromkeys(config.methods[:1], METHOD)
    if random := baseline_of(config):
        special[random] = BASELINE
    other_names = [name for name in config.strategies if name not in special]
    styles = map(Style, cycle(_COLOURS), cycle(_MARKERS))
    other_styles = dict(zip(other_names, islice(styles, len(other_names)), strict=True))
    return {name: special[name] if name in special else other_styles[name] for name in config.strategies}


def baseline_of(config: Config) -> str | None:
    """Return the instance that others are compared with: the first of type random; None without one."""
    return first_of_type(config, "random")


def first_of_type(config: Config, kind: str) -> str | None:
    """Return the first instance of a registered strategy; None without one."""
    return next((name for name, settings in config.strategies.items() if settings.type == kind), None)


def class_colours(count: int) -> tuple[str, ...]:
    """Return a colour a class: Okabe and Ito's while they last, else evenly spread hues of two lightnesses."""
    if count <= len(_CLASS_COLOURS):
        return _CLASS_COLOURS[:count]
    colours = []
    for label in range(count):
        red, green, blue = colorsys.hls_to_rgb(label / count, 0.42 if label % 2 else 0.66, 0.85)
        colours.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return tuple(colours)
