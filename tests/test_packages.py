"""The packages: few, and importing each other in one direction only."""

import ast
from pathlib import Path

import pytest
from run_workflow import ROOT

ORDER = (
    "errors",
    "config",
    "artefacts",
    "compute",
    "data",
    "models",
    "training",
    "evaluation",
    "selection",
    "method",
    "engine",
    "report",
    "labelling",
    "cli",
)
"""A package imports those before it; `mgral/__init__.py` names its functions without importing them."""
PACKAGE = ROOT / "mgral"


def imported(path: Path) -> set[str]:
    """Return the packages of mgral that a file imports, also inside of functions."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} if node.module != "mgral" else {f"mgral.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {module.split(".")[1] for module in modules if module.startswith("mgral.")}


def test_there_are_no_others():
    packages = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert packages | modules == {*ORDER, "__init__", "__main__"}


@pytest.mark.parametrize("place", range(len(ORDER)), ids=ORDER)
def test_a_package_imports_only_those_before_it(place):
    name = ORDER[place]
    files = [PACKAGE / f"{name}.py"] if name == "errors" else sorted((PACKAGE / name).rglob("*.py"))
    assert files
    later = {str(path.relative_to(ROOT)): imported(path) & set(ORDER[place + 1 :]) for path in files}
    assert {path: names for path, names in later.items() if names} == {}
