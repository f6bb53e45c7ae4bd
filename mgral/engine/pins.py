"""The versions of packages with which reruns are exact: those of requirements.lock, which a wheel has inside."""

from importlib import metadata

from packaging.requirements import Requirement

from mgral.engine.installed import FOLDER

PINS = FOLDER / "requirements.lock"
EXTRAS = ("onnx", "transformers")
"""Extras of pyproject.toml whose packages may change results."""


def constraints() -> str:
    """Return the pinned versions of all packages, a line each, as an installer's --constraints takes them."""
    return "".join(f"{line}\n" for line in _pinned_lines())


def other_versions() -> list[str]:
    """Return the packages that mgral names as its own and that are installed in another version than pinned."""
    pins = {
        requirement.name: str(requirement.specifier).removeprefix("==")
        for requirement in map(Requirement, _pinned_lines())
        if _applies(requirement)
    }
    own_packages = [
        requirement.name
        for requirement in map(Requirement, metadata.requires("mgral") or [])
        if _applies(requirement)
    ]
    installed = {name: version for name in own_packages if (version := installed_version(name))}
    return [f"{name} {version}, not {pins[name]}" for name, version in installed.items() if version != pins[name]]


def installed_version(name: str) -> str | None:
    """Return the version of a package; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _pinned_lines() -> list[str]:
    """Return the lines `PACKAGE==VERSION` of the lock file, without hashes and comments."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return [line.removesuffix("\\").strip() for line in lines if line and not line[0].isspace() and line[0] != "#"]


def _applies(requirement: Requirement) -> bool:
    """Return whether a requirement is one of this Python and system, and not of development."""
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": name}) for name in EXTRAS)
