"""Writes the pages of docs/reference from the code, and the code of examples into the pages that show it.

python -m docs.generate
"""

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

from mgral.cli.main import mgral
from mgral.config import config_schema, detectors, registry, resolve_config
from mgral.config.registry import StrategyInfo
from mgral.models.detectors.torchvision import FACTS
from mgral.models.detectors.transformers import FAMILIES
from mgral.models.onnx_export import EXPORTED

DOCS = Path(__file__).parent
OUTPUT = DOCS / "reference"
EXAMPLE = re.compile(r"(<!-- from (\S+) -->\n```\w*\n).*?(\n```\n)", re.DOTALL)
"""A block of code of a page, below the file that it is from."""
BEGINNING = "\n\nMade from the code by `make docs`.\n"
Pages = dict[str, str]
"""Content of pages, by the path of their files in `OUTPUT`."""
SECTION = re.compile(r"^(\w+)\n-+\n", re.MULTILINE)
"""A heading in a docstring."""
WIDTH = 100
"""Characters of a line of help."""
UNBOUNDED = 10**9
"""A maximum that only keeps numbers within what the code can count."""

Schema = Mapping[str, Any]


def pages() -> Pages:
    """Return all pages: of each kind an overview, and a page for each part in a folder of its name."""
    return strategy_pages() | detector_pages() | configuration_pages() | command_pages()


def strategy_pages() -> Pages:
    """Return every strategy of this package, a page a family: criterion, source, formula, differences, cost."""
    found = [one for one in registry.strategies().values() if one.module.startswith("mgral.")]
    families: dict[str, list[StrategyInfo]] = {}
    for info in found:
        families.setdefault(info.module, []).append(info)
    titles = {module: ", ".join(info.name for info in infos) for module, infos in families.items()}
    lines = [
        "# All strategies" + BEGINNING,
        "How to name strategies in a configuration: [Strategies](../strategies.md).\n",
        "| Name | Chooses by | Requires | Detectors | Cost |\n|---|---|---|---|---|",
    ]
    for info in found:
        link = f"[`{info.name}`](strategies/{_stem(info.module)}.md)"
        requires = ", ".join(f"`{one}`" for one in info.requires)
        lines.append(f"| {link} | {info.summary} | {requires} | {_served_by(info)} | {_cost(info)} |")
    lines.append(
        "\nCost is the cost of choosing a batch, in addition to the cycle's detector. Lookup tables and their "
        "embeddings are made once for all cycles, unless `lut.refresh` is `every_cycle`. A command is a detector "
        "that is [your own program](../external-detector.md). The requirements are explained in "
        "[A strategy of your own](../extending.md#the-file).\n"
    )
    found_pages = {"strategies.md": "\n".join(lines)}
    for module, infos in families.items():
        back = "All strategies: [table](../strategies.md)."
        text = "\n".join([f"# {titles[module]}" + BEGINNING, back + "\n", *_family(module, infos)])
        found_pages[f"strategies/{_stem(module)}.md"] = text
    return found_pages


def _stem(module: str) -> str:
    return module.rpartition(".")[2]


def _family(module: str, infos: list[StrategyInfo]) -> Iterator[str]:
    head, *sections = SECTION.split(cleandoc(importlib.import_module(module).__doc__ or ""))
    first, _, rest = head.partition("\n")
    summary = first.partition(": ")[2]
    yield summary[0].upper() + summary[1:]
    if rest.strip():
        yield f"\n{rest.strip()}"
    docs = {info.name: cleandoc(registry.strategy_function(info.name).__doc__ or "") for info in infos}
    choices = {name: doc.partition("\n")[0] for name, doc in docs.items()}
    if len(set(choices.values())) == 1:
        yield f"\n{choices[infos[0].name]}"
    else:
        yield "\n| Name | What is chosen |\n|---|---|"
        yield from (f"| `{name}` | {_cell(text)} |" for name, text in choices.items())
    for title, text in zip(sections[::2], sections[1::2], strict=True):
        yield f"\n**{title}.**\n\n{text.strip()}"
    yield f"\n**Code.** `{module.replace('.', '/')}.py`\n"


def _served_by(info: StrategyInfo) -> str:
    """Return the detectors that a strategy works with, by the checks of a configuration."""
    if "dense" in info.requires:
        return "with anchors"
    command = resolve_config({"detector": {"name": "external", "command": "{train} {test} {output}"}}).detector
    with_all = command.model_copy(update={"gives": ("probabilities", "features")})
    if command.lacks(info.requires, info.views) is None:
        return "with anchors; commands whose proxy has anchors" if _needs_dense(info) else "all"
    if with_all.lacks(info.requires, info.views) is None:
        return "all, commands with `probabilities`"
    return "all except commands"


def _needs_dense(info: StrategyInfo) -> bool:
    """Return whether the tables of a strategy need anchors: variants that learn by a consistency loss do."""
    return info.settings.get("lut", {}).get("labels") == "consistency"


def _cost(info: StrategyInfo) -> str:
    parts = []
    if "head" in info.requires:
        parts.append("one more training of the detector, with the head")
    if info.runs_detector:
        parts.append("inference on the pool" + (f", {info.views} times" if info.views > 1 else ""))
    if {"embeddings", "counts"}.intersection(info.requires):
        parts.append("embeddings of all training images")
    if info.needs_tables:
        parts.append("lookup tables")
    if "agent" in info.requires:
        parts.append("the training of the agent")
    if "groups" in info.requires:
        parts.append("groups of near-copies, found once")
    return _cell("; ".join(parts) or "nothing")


def detector_pages() -> Pages:
    """Return every detector of this package, a page each: family, what it supports, settings."""
    found = {name: one for name, one in detectors.detectors().items() if one.__module__.startswith("mgral.")}
    ours = [one for one in registry.strategies().values() if one.module.startswith("mgral.")]
    schema = config_schema()
    known = schema["$defs"]
    options = [_resolved(one, known) for one in schema["properties"]["detector"]["oneOf"]]
    sections = {one["properties"]["name"]["const"]: one for one in options}
    lines = [
        "# Detectors" + BEGINNING,
        "How to choose one: [Your own data](../your-data.md#which-detector). Your own detector: as "
        "[a package](../extending-detector.md), or as [a command](../external-detector.md).\n",
        "| `detector.name` | What it is | Anchors | Derived from the data if null | `mgral onnx` | Needs |\n"
        "|---|---|---|---|---|---|",
    ]
    for name, section in found.items():
        doc = _first_sentence(section)
        derived = ", ".join(f"`{key}`" for key in section.derivable) or "nothing"
        package = f"package `{section.package}`" if section.package else ""
        exported = "yes" if name in EXPORTED else "no"
        row = (f"[`{name}`](detectors/{name}.md)", doc, "yes" if section.dense else "no", derived, exported, package)
        lines.append(f"| {' | '.join(row)} |")
    dense = [f"`{one.name}`" for one in ours if "dense" in one.requires or _needs_dense(one)]
    lines.append(
        f"\nAll {len(ours)} strategies of MGRAL work with a detector with anchors. Without anchors all work except "
        f"{', '.join(dense)}; with a command those that use augmented images do not work either "
        f"([All strategies](strategies.md)). `weights` accepts a file for every detector except a command.\n"
    )
    found_pages = {"detectors.md": "\n".join(lines)}
    for name, section in found.items():
        lines = [
            f"# {name}" + BEGINNING,
            "All detectors: [table](../detectors.md).\n",
            _first_sentence(section) + "\n",
        ]
        if section.training_defaults:
            given = ", ".join(f"`{key}: {_value(one)}`" for key, one in section.training_defaults.items())
            lines.append(f"Defaults of `training` for this detector: {given}.\n")
        if name == "torchvision":
            lines.append("| `model` | `weights` that it may start from |\n|---|---|")
            lines += [f"| `{one}` | {', '.join(f'`{w}`' for w in facts.weights)} |" for one, facts in FACTS.items()]
            lines.append("")
        if name == "transformers":
            kinds = ", ".join(f"`{kind}`" for kind in FAMILIES)
            lines.append(f"Model types in `config.json` of the folder: {kinds}.\n")
        found_pages[f"detectors/{name}.md"] = "\n".join([*lines, *_table(sections[name], known), ""])
    return found_pages


def _first_sentence(section: type) -> str:
    """Return what a section's docstring says first, without the module that it points to."""
    return cleandoc(section.__doc__ or "").partition("\n")[0].partition("; see")[0].rstrip(".") + "."


def configuration_pages() -> Pages:
    """Return every key of a configuration with its type, default and description, a page a section."""
    schema = config_schema()
    properties, known = schema["properties"], schema["$defs"]
    plain = {key: one for key, one in properties.items() if _section(one, known) is None and "oneOf" not in one}
    plain["budget"] = properties["budget"]
    found = {}
    for key, one in properties.items():
        if (section := _section(one, known)) is not None:
            about = _text(one.get("description") or section["description"])
            lines = [about, "", *_table(section, known)]
            for inner, part in section["properties"].items():
                if (nested := _section(part, known)) is not None:
                    lines += ["", f"## {key}.{inner}\n", _text(nested["description"]), "", *_table(nested, known)]
            found[key] = lines
    found["data"] = ["The section has other keys for each `format`.\n"]
    for option in properties["data"]["oneOf"]:
        section = _resolved(option, known)
        name = section["properties"]["format"]["const"]
        found["data"].append(f"- [format {name}](data-{name}.md)")
        found[f"data-{name}"] = [_text(section["description"]) + "\n", *_table(section, known)]
    lines = [
        "# Configuration" + BEGINNING,
        "Every key of a configuration. How to set them: [Experiments](../experiments.md#settings). Editors can check "
        "a file against `workflow/schemas/config.schema.json`.\n",
        "Sections: "
        + ", ".join(f"[{key}](configuration/{key}.md)" for key in sorted(found) if "-" not in key)
        + ".\n",
        "The section `detector` has other keys for each `name`: [Detectors](detectors.md).\n",
        "## Keys without a section\n",
        *_table({"properties": {key: properties[key] for key in properties if key in plain}}, known),
        "\n## Budget in boxes\n",
        _text(known["BudgetConfig"]["description"]) + "\n",
        *_table(known["BudgetConfig"], known),
        "\n## A strategy with its own settings\n",
        _text(known["GivenStrategy"]["description"]) + "\n",
        *_table(known["GivenStrategy"], known),
    ]
    back = "All sections: [Configuration](../configuration.md).\n"
    return {"configuration.md": "\n".join(lines)} | {
        f"configuration/{key}.md": "\n".join([f"# {key}" + BEGINNING, back, *of_key]) for key, of_key in found.items()
    }


def _resolved(schema: Schema, known: Schema) -> Schema:
    return known[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _section(schema: Schema, known: Schema) -> Schema | None:
    resolved = _resolved(schema, known)
    return resolved if "$ref" in schema and "properties" in resolved else None


def _table(section: Schema, known: Schema) -> list[str]:
    lines = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for key, one in section["properties"].items():
        parts = [one, *one.get("anyOf", ())]
        inner = next((found for part in parts if (found := _section(part, known)) is not None), {})
        meaning = one.get("description") or inner.get("description", "")
        if not meaning and "const" in one:  # the name of the section itself
            continue
        if key in section.get("required", ()):
            default = "required"
        elif isinstance(one.get("default"), dict):
            default = "as in its section"
        else:
            default = f"`{_value(one['default'])}`" if "default" in one else ""
        lines.append(f"| `{key}` | {_cell(_kind(one))} | {_cell(default)} | {_cell(_text(meaning))} |")
    return lines


def _kind(schema: Schema) -> str:
    """Return the type of a value in words."""
    if "$ref" in schema:
        return "section"
    if "const" in schema:
        return f"`{_value(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{_value(one)}`" for one in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_kind, schema[several])))
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return ("integer" if kind == "integer" else "number") + _bounds(schema)
    if kind == "array":
        parts = [_kind(one) for one in schema.get("prefixItems", ())] or [_kind(schema.get("items", {}))]
        return "list of " + re.sub(r"\b(integer|number|text)\b", r"\1s", ", ".join(dict.fromkeys(parts)))
    words = {"boolean": "`true` or `false`", "string": "text", "null": "`null`", "object": "keys and values"}
    return words.get(kind or "", "any value")


def _bounds(schema: Schema) -> str:
    named = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    parts = [f"{word} {schema[key]}" for key, word in named.items() if abs(schema.get(key, UNBOUNDED)) < UNBOUNDED]
    return " " + " ".join(parts) if parts else ""


def _value(value: object) -> str:
    """Return a value as YAML has it in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def command_pages() -> Pages:
    """Return the help of `mgral`, and of each command, a page each."""
    given = mgral.context_settings
    context = click.Context(mgral, info_name="mgral", terminal_width=WIDTH, max_content_width=WIDTH, **given)
    helps = dict(_helps(context, mgral))
    lines = [
        "# Commands" + BEGINNING,
        "Snakemake or DVC runs the steps; people use the other commands. Conventions: "
        "[Changing MGRAL](../developing.md#commands). The help of each command: "
        + ", ".join(f"[`{path}`](commands/{_file(path)})" for path in helps)
        + ".\n",
        _help(context, mgral),
    ]
    back = "All commands: [Commands](../commands.md).\n"
    return {"commands.md": "\n".join(lines)} | {
        f"commands/{_file(path)}": "\n".join([f"# {path}" + BEGINNING, back, text]) for path, text in helps.items()
    }


def _file(path: str) -> str:
    """Return the file of the page of a command, given its path, such as `mgral project next`."""
    return f"{path.replace(' ', '-')}.md"


def _helps(context: click.Context, group: click.Group) -> Iterator[tuple[str, str]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, context, name, **command.context_settings)
        yield inner.command_path, _help(inner, command)
        if isinstance(command, click.Group):
            yield from _helps(inner, command)


def _help(context: click.Context, command: click.Command) -> str:
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"```text\n{text}\n```\n"


def _text(docstring: str) -> str:
    return " ".join(docstring.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def with_examples(text: str) -> str:
    """Return the text of a page with the present code in each block that is from a file of the repository."""

    def written(block: re.Match[str]) -> str:
        begin, path, end = block.groups()
        return begin + (DOCS.parent / path).read_text(encoding="utf-8").rstrip() + end

    return EXAMPLE.sub(written, text)


def main() -> None:
    """Write the pages."""
    made = pages()
    for old in OUTPUT.rglob("*.md"):
        if old.relative_to(OUTPUT).as_posix() not in made:
            old.unlink()
    for name, text in made.items():
        (OUTPUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUTPUT / name).write_text(text.rstrip() + "\n", encoding="utf-8")
    for page in DOCS.glob("*.md"):
        page.write_text(with_examples(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
