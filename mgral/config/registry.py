"""Strategies by name: those of this package and of installed plug-ins (entry points `mgral.strategies`).

A strategy is a function in a file of its own, under `@register`. The configuration, the workflow and the report need
its name and what it requires, but must not import it: torch alone takes seconds. So the arguments of `@register` are
read from the source without running it; where they are no literals the module is imported.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from mgral.config import detectors
from mgral.errors import InputError

Requirement = Literal["detections", "dense", "head", "embeddings", "counts", "tables", "agent", "groups"]
"""What a strategy needs beside the labelled images and the pool:

- detections: the cycle's detector, and the images that it finds objects in
- dense: the same, of a detector that predicts every cell of its feature maps (anchors, class maps, flips)
- head: with dense, a head of its own, which is trained along with the cycle's detector (`register_head`)
- embeddings: a vector for each image
- counts: the predicted number of objects of each class in each image
- tables: the lookup tables
- agent: the agent that policy gradient has trained on lookup tables
- groups: which training images are near-copies of each other
"""

BUILT_IN = ("mgral.selection.strategies", "mgral.method")
"""Packages whose modules are looked through for `@register`."""
GROUP = "mgral.strategies"
"""Entry points of plug-ins: the name of the strategy, and the module that registers it."""

RENAMED = {"entropy": "entropy_anchors", "csd": "flip_consistency", "mi_aod": "head_discrepancy"}
"""Names of earlier versions."""


@dataclass(frozen=True)
class StrategyInfo:
    """What is known of a strategy without importing it."""

    name: str
    summary: str
    module: str
    """Importing it registers the function."""
    requires: tuple[Requirement, ...] = ()
    views: int = 1
    """How often the detector sees each image of the pool, if at all."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the strategy sets in sections of the configuration, unless an instance sets it otherwise."""

    @property
    def needs_tables(self) -> bool:
        """Whether lookup tables are made for it."""
        return "tables" in self.requires or "agent" in self.requires

    @property
    def runs_detector(self) -> bool:
        """Whether choosing runs the detector, and so can use a GPU."""
        return "detections" in self.requires or "dense" in self.requires

    @property
    def files(self) -> tuple[str, ...]:
        """The options of the step `select` that name the files which the strategy reads."""
        embeds = "embeddings" in self.requires or "counts" in self.requires
        options = {"images": self.runs_detector, "detector": self.runs_detector, "embeddings": embeds}
        options |= {"table": "tables" in self.requires}
        options |= {name: name in self.requires for name in ("agent", "head", "groups")}
        return tuple(name for name, needed in options.items() if needed)


Function = TypeVar("Function", bound=Callable[..., Any])


class HeadFunctions(NamedTuple):
    """How the head of a strategy is made and what it learns; `seen` is a `mgral.selection.heads.Seen`."""

    build: Callable[..., Any]
    """Makes the head, a torch module, given `(detector, seen)`; `seen` is the first batch of the training."""
    loss: Callable[..., Any]
    """The loss of a batch, a scalar: `(head, detector, seen)`. The detector is in evaluation mode, and frozen."""


_functions: dict[str, Callable[..., Any]] = {}
_heads: dict[str, HeadFunctions] = {}
_infos: dict[str, StrategyInfo] = {}


def register(
    name: str,
    summary: str,
    *,
    requires: tuple[Requirement, ...] = (),
    views: int = 1,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Function], Function]:
    """Make a function `(query: Query) -> Choice` a strategy.

    Parameters
    ----------
    name
        Name of the strategy in configurations: letters, digits, `_`, `-`.
    summary
        The criterion of the choice, in half a line.
    requires
        See `Requirement`.
    views
        How often the detector sees each image of the pool.
    settings
        Defaults of the strategy in the sections embedding, lut, reward, agent and semi_supervised. An instance can
        override them.
    """
    if unknown := set(requires) - set(get_args(Requirement)):
        raise ValueError(f"strategy {name} requires {sorted(unknown)}; there are {', '.join(get_args(Requirement))}")
    if "head" in requires and "dense" not in requires:
        raise ValueError(f"strategy {name} requires a head without `dense`, on whose feature maps it lies")

    def remember(function: Function) -> Function:
        _functions[name] = function
        _infos[name] = StrategyInfo(name, summary, function.__module__, requires, views, settings or {})
        return function

    return remember


def register_head(name: str, build: Callable[..., Any], loss: Callable[..., Any]) -> None:
    """Register the functions that make and train the head of a strategy; see `HeadFunctions`."""
    _heads[name] = HeadFunctions(build, loss)


def strategy(name: str) -> StrategyInfo:
    """Return what is known of a strategy; raises InputError for a name that nobody registered."""
    by_name = strategies()
    if name in RENAMED and name not in by_name:
        raise InputError(f"strategies: {name!r} is now {RENAMED[name]!r}; rename it")
    if name not in by_name:
        raise InputError(f"strategies: there is no strategy {name!r}; choose from {', '.join(by_name)}")
    return by_name[name]


def strategies() -> Mapping[str, StrategyInfo]:
    """Return all strategies by name: mgral and random first, then in order of their names, plug-ins last."""
    return {**_declared(), **_infos}


def strategy_function(name: str) -> Callable[..., Any]:
    """Import a strategy and return its function."""
    import_module(strategy(name).module)
    return _functions[name]


def strategy_head(name: str) -> HeadFunctions:
    """Import a strategy and return the functions of its head; raises InputError where it has none."""
    import_module(strategy(name).module)
    if name not in _heads:
        raise InputError(f"strategy {name} has no head; its module must call register_head, or not require one")
    return _heads[name]


def plug_ins() -> dict[str, str]:
    """Return the installed packages that bring strategies or detectors, with their versions."""
    points = [point for group in (GROUP, detectors.GROUP) for point in detectors.entry_points(group)]
    packages = {point.dist.name: point.dist.version for point in points if point.dist is not None}
    return dict(sorted(packages.items()))


@cache
def _declared() -> dict[str, StrategyInfo]:
    """Return the strategies of MGRAL and of plug-ins by name; modules are imported only where they must be."""
    built_in = {info.name: info for package in BUILT_IN for info in _of_package(package)}
    order = sorted(built_in, key=lambda name: (name not in ("mgral", "random"), name))
    declared = {name: built_in[name] for name in order}
    for point in sorted(detectors.entry_points(GROUP), key=lambda point: point.name):
        plugged = {info.name: info for info in _of_module(point.module)}
        if point.name not in plugged:
            raise InputError(
                f"plug-in {point.value}: it registers {', '.join(plugged) or 'nothing'} and not {point.name}; "
                f"correct the entry point {GROUP} of its package"
            )
        if point.name in declared:
            raise InputError(f"plug-in {point.value}: there is a strategy {point.name} already; rename it")
        declared[point.name] = plugged[point.name]
    return declared


def _of_package(package: str) -> Iterator[StrategyInfo]:
    """Yield the strategies that the modules of a package register."""
    spec = find_spec(package)
    assert spec is not None
    for folder in map(Path, spec.submodule_search_locations or ()):
        for path in sorted(folder.glob("*.py")):
            yield from _read(path, f"{package}.{path.stem}")


def _of_module(module: str) -> list[StrategyInfo]:
    """Return the strategies that a module registers; it is imported only if their arguments are computed."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise InputError(f"plug-in {module}: there is no such module; install its package again")
    try:
        return list(_read(Path(spec.origin), module))
    except ValueError:  # arguments that are computed
        import_module(module)
        return [info for info in _infos.values() if info.module == module]


def _read(path: Path, module: str) -> Iterator[StrategyInfo]:
    """Read the literal arguments of each `@register` in a file; raises ValueError where one is no literal."""
    text = path.read_text(encoding="utf-8")
    if "register(" not in text:
        return
    for node in ast.parse(text).body:
        for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            called = decorator.func if isinstance(decorator, ast.Call) else None
            if isinstance(decorator, ast.Call) and getattr(called, "attr", getattr(called, "id", "")) == "register":
                name, summary = (ast.literal_eval(argument) for argument in decorator.args)
                named = {
                    keyword.arg: ast.literal_eval(keyword.value) for keyword in decorator.keywords if keyword.arg
                }
                yield StrategyInfo(name, summary, module, **named)
