"""Detectors by name: those of this package and of installed plug-ins (entry points `mgral.detectors`).

A detector is a class of settings in a file of its own, under `@register_detector`. The file is imported when a
configuration is read, so it should not import torch; a plug-in that has its network in the same file starts slower.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BeforeValidator, GetJsonSchemaHandler, SerializeAsAny, ValidationInfo
from pydantic_core import CoreSchema

from mgral.config.data import SyntheticData
from mgral.config.detector import DetectorConfig
from mgral.errors import InputError

BUILT_IN = "mgral.models.detectors"
"""Package whose modules register a detector each."""
GROUP = "mgral.detectors"
"""Entry points of plug-ins: the name of the detector, and the module that registers it."""
DEFAULT, DEFAULT_OF_SYNTHETIC = "ssd", "small_ssd"
"""Detectors that are used if `detector.name` is missing: for real data, and for synthetic data."""
EXTERNAL = "external"
"""The detector that is a command of the user's own."""

Settings = TypeVar("Settings", bound=DetectorConfig)

_sections: dict[str, type[DetectorConfig]] = {}


def register_detector(section: type[Settings]) -> type[Settings]:
    """Make a class of settings a detector, by the name that is the only value of its field `name`."""
    names = get_args(section.model_fields["name"].annotation)
    if len(names) != 1:
        raise ValueError(f"detector {section.__qualname__}: its name must be a Literal of one text")
    registered = _sections.get(names[0], section)
    if (registered.__module__, registered.__qualname__) != (section.__module__, section.__qualname__):
        raise InputError(f"detector {names[0]}: {registered.__module__} and {section.__module__} have it; rename one")
    _sections[names[0]] = section
    return section


@cache
def entry_points(group: str) -> metadata.EntryPoints:
    """Return the entry points of a group; to read those of all installed packages takes 10 ms each time."""
    return metadata.entry_points(group=group)


def package_of(group: str, name: str) -> str | None:
    """Return the installed package that brings a strategy or detector, with its version and a digest of its code.

    None for those of mgral itself. The digest is of the module that the entry point names or, if that is in a
    package, of all Python files of the top-level package.
    """
    packages = [
        (point.dist, point.module) for point in entry_points(group).select(name=name) if point.dist is not None
    ]
    return f"{packages[0][0].name} {packages[0][0].version} {_code_digest(packages[0][1])}" if packages else None


@cache
def _code_digest(module: str) -> str:
    """Return a digest of the code of a module's top package, 16 hexadecimal digits."""
    spec = find_spec(module.partition(".")[0])
    roots = map(Path, (spec and (spec.submodule_search_locations or [spec.origin or ""])) or ())
    digest = sha256()
    for root in roots:
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def detectors() -> Mapping[str, type[DetectorConfig]]:
    """Return the settings class of every detector by name: in order of names, plug-ins last."""
    _import_all()
    order = sorted(_sections, key=lambda name: (not _sections[name].__module__.startswith(BUILT_IN), name))
    return {name: _sections[name] for name in order}


@cache
def _import_all() -> None:
    """Import the modules that register detectors: the built-in ones, and plug-ins."""
    for module in iter_modules(import_module(BUILT_IN).__path__, f"{BUILT_IN}."):
        import_module(module.name)
    for point in sorted(entry_points(GROUP), key=lambda point: point.name):
        try:
            import_module(point.module)
        except ImportError as error:
            raise InputError(f"plug-in {point.value}: {error}; install its package again") from error
        if point.name not in _sections:
            raise InputError(
                f"plug-in {point.value}: it registers no detector {point.name}; "
                f"correct the entry point {GROUP} of its package"
            )


def read_section(value: Any, default: str = DEFAULT_OF_SYNTHETIC) -> Any:
    """Validate the values of a section by the detector that they name; anything else is returned as it is."""
    if not isinstance(value, dict):
        return value
    name, sections = value.get("name", default), detectors()
    if name not in list(sections):  # a list, as the name may be of any type
        raise ValueError(f"detector.name: there is no detector {name!r}; choose from {', '.join(sections)}")
    if name == EXTERNAL and isinstance(value.get("proxy", {}), dict):
        value = {**value, "proxy": {"name": default, **value.get("proxy", {})}}
    return sections[name].model_validate({"name": name, **value})


def _read_by_data(value: Any, info: ValidationInfo) -> Any:
    """Validate the section of a detector, whose default depends on the data."""
    synthetic = isinstance(info.data.get("data"), SyntheticData)
    return read_section(value, DEFAULT_OF_SYNTHETIC if synthetic else DEFAULT)


def _read_proxy(value: Any) -> Any:
    """Validate the section of a proxy, a detector that is trained here."""
    if isinstance(value, dict) and value.get("name") == EXTERNAL:
        raise ValueError(f"detector.proxy: {EXTERNAL} is not trained by MGRAL; choose another")
    return read_section(value)


class _AnyOfThem:
    """Describes a field in the JSON schema as the section of any detector, except those in `left_out`."""

    def __init__(self, *left_out: str) -> None:
        self._left_out = left_out

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        sections = [section for name, section in detectors().items() if name not in self._left_out]
        return {
            "default": read_section({}).model_dump(mode="json"),
            "oneOf": [handler(section.__pydantic_core_schema__) for section in sections],
        }


AnyDetector = Annotated[SerializeAsAny[DetectorConfig], BeforeValidator(_read_by_data), _AnyOfThem()]
"""The field of a configuration that contains the section of one of the detectors."""
ProxyDetector = Annotated[SerializeAsAny[DetectorConfig], BeforeValidator(_read_proxy), _AnyOfThem(EXTERNAL)]
"""The field of a section that contains the section of one of the detectors that are trained here."""
