"""YAML files of configuration keys, as they are read before the keys are validated."""

import re
from pathlib import Path
from typing import Any

import yaml

from mgral.errors import InputError

LARGEST = 100_000
"""Values that a configuration file may contain."""


class _Loader(yaml.SafeLoader):
    """Reads `1e-3` as a number, and notes keys that a section has twice, of which the last would win in silence."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[str] = []

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Before `<<` is resolved, which a section's own keys may override.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if (key.tag, key.value) in lines:
                self.repeated.append(f"`{key.value}` (lines {lines[key.tag, key.value]} and {line})")
            lines.setdefault((key.tag, key.value), line)
        return node


# YAML 1.1 wants a point and a sign, and reads other numbers with an exponent as text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def read_values(path: Path) -> dict[str, Any]:
    """Read a YAML file of configuration keys without validating them; raises InputError where it contains none."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file; name an existing configuration file")
        loader = _Loader(path.read_text("utf-8-sig"))
        values = loader.get_single_data()
        size = _count(values)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name an existing configuration file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not in UTF-8; save it in that encoding") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path} is not YAML ({error}); correct its syntax") from None
    except RecursionError:
        raise InputError(f"{path}: its sections are nested too deeply; write fewer levels") from None
    if loader.repeated:
        raise InputError(f"{path} has keys twice in a section: {', '.join(loader.repeated)}; keep one of each")
    if size > LARGEST:
        raise InputError(f"{path} holds more than {LARGEST:,} values, aliases (`*name`) written out; remove those")
    if not isinstance(values, dict):
        raise InputError(f"{path} contains no keys; write some, such as `experiment: mine`")
    return values


def _count(value: Any) -> int:
    """Count values as if aliases were written out, up to just above `LARGEST`."""
    count, waiting = 0, [value]
    while waiting and count <= LARGEST:
        item = waiting.pop()
        count += 1
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return count
