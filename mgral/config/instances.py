"""Strategies as named instances, each with settings of its own in place of the experiment's.

Artefacts that depend on such settings are stored under a name of the settings, not of the strategy. So instances with
equal settings share them. `default` names the experiment's own settings, a hash of the differences names others.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from mgral.config import registry
from mgral.config.detector import DetectorConfig
from mgral.config.method import AgentConfig, EmbeddingConfig, LutConfig, RewardConfig
from mgral.config.section import LONGEST_NAME, Section, no_repetition
from mgral.config.training import SemiSupervisedConfig
from mgral.errors import InputError

DEFAULT = "default"
"""Name of the experiment's own settings."""
OWN_SECTIONS = {
    "embedding": EmbeddingConfig,
    "lut": LutConfig,
    "reward": RewardConfig,
    "agent": AgentConfig,
    "semi_supervised": SemiSupervisedConfig,
}
"""Sections of the configuration that an instance may set for itself."""


def _check_strategy(name: str) -> str:
    """Return the name of a strategy; raises ValueError where none is registered by it."""
    try:
        registry.strategy(name)
    except InputError as error:
        raise ValueError(str(error)) from None
    return name


InstanceName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=LONGEST_NAME), AfterValidator(no_repetition)
]


class StrategyConfig(Section):
    """A strategy of the experiment; settings that it does not name are the experiment's."""

    type: Annotated[str, AfterValidator(_check_strategy)]
    """The registered strategy; by default the name of the instance."""
    embedding: EmbeddingConfig
    lut: LutConfig
    reward: RewardConfig
    agent: AgentConfig
    semi_supervised: SemiSupervisedConfig


class GivenStrategy(Section):
    """A strategy as a configuration names it; its sections contain only the settings that differ from the
    experiment's."""

    type: str | None = None
    """The registered strategy; by default the name of the instance."""
    embedding: EmbeddingConfig | None = None
    lut: LutConfig | None = None
    reward: RewardConfig | None = None
    agent: AgentConfig | None = None
    semi_supervised: SemiSupervisedConfig | None = None


Given = Literal["all"] | list[str] | dict[InstanceName, GivenStrategy | None]
"""Type of the section `strategies` in the JSON schema, which editors use."""


def complete_instances(strategies: Any, experiment_settings: Mapping[str, Any]) -> Any:
    """Complete each instance by its type and by the experiment's settings; a list of names has no own settings.

    Parameters
    ----------
    strategies
        The section `strategies` as it was read. `all` stands for all registered strategies that work with the
        detector, None for the default ones.
    experiment_settings
        The experiment's other sections, as far as they are valid.
    """
    if strategies is None or strategies == "all":
        detector = experiment_settings.get("detector")  # it is missing where it is not valid
        suitable = [
            name
            for name, info in registry.strategies().items()
            if not isinstance(detector, DetectorConfig) or suits(detector, info)
        ]
        fourth = next(name for name in ("entropy_anchors", "entropy_sum", "core_set") if name in suitable)
        strategies = suitable if strategies == "all" else ("mgral_greedy", "random", "sqrt_counts", fourth)
    if isinstance(strategies, list | tuple):
        if not all(isinstance(name, str) for name in strategies):
            raise ValueError(f"strategies: {list(strategies)!r} is no list of names; see docs/strategies.md")
        if len(set(strategies)) < len(strategies):
            raise ValueError(f"strategies: {list(strategies)} repeats an entry; list each once")
        strategies = {name: {} for name in strategies}
    if not isinstance(strategies, dict):
        raise ValueError(f"strategies: {strategies!r} is neither a list of names nor a mapping of names to settings")
    if no_names := [name for name in strategies if not isinstance(name, str)]:
        raise ValueError(f"strategies: YAML reads the names {no_names} as other than text; put them in quotes")
    return {name: _complete_instance(name, settings, experiment_settings) for name, settings in strategies.items()}


def suits(detector: DetectorConfig, info: registry.StrategyInfo) -> bool:
    """Return whether a detector has everything that a strategy and its lookup tables need."""
    consistent = info.settings.get("lut", {}).get("labels") == "consistency"
    return detector.lacks(info.requires, info.views) is None and (detector.trained.dense or not consistent)


def uses(info: registry.StrategyInfo, section: str) -> bool:
    """Return whether a section of `OWN_SECTIONS` has an effect on a strategy."""
    if section == "agent":
        return "agent" in info.requires
    return info.needs_tables or (section == "embedding" and "embeddings" in info.requires)


def _complete_instance(name: Any, settings: Any, experiment_settings: Mapping[str, Section]) -> Any:
    if settings is None:
        settings = {}
    if not isinstance(settings, dict):
        return settings  # a StrategyConfig, or a fault that is reported by its place
    completed = {"type": name, **settings}
    info = registry.strategies().get(str(completed["type"]))
    if info and (unknown := info.settings.keys() - OWN_SECTIONS.keys()):
        raise ValueError(
            f"strategies: {info.name} sets {', '.join(sorted(unknown))} in its @register, and may set "
            f"{', '.join(OWN_SECTIONS)}; correct {info.module}"
        )
    unused = [section for section in OWN_SECTIONS if info and settings.get(section) and not uses(info, section)]
    if unused:
        raise ValueError(
            f"strategies.{name}: {completed['type']} does not use {' and '.join(unused)}; remove it there"
        )
    for section, model in OWN_SECTIONS.items():
        section_settings = settings.get(section)
        if info and section in info.settings and (section_settings is None or isinstance(section_settings, dict)):
            section_settings = {**info.settings[section], **(section_settings or {})}
        base = experiment_settings[section] if section in experiment_settings else model()
        if section_settings is None:
            completed[section] = base
        elif isinstance(section_settings, dict):
            completed[section] = {key: getattr(base, key) for key in type(base).model_fields} | section_settings
    return completed


def differing(instance_settings: Mapping[str, Any], experiment_settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not the experiment's, nested as they are, as plain data."""
    differences: dict[str, Any] = {}
    for key, value in instance_settings.items():
        if isinstance(value, Mapping):
            if inner := differing(value, experiment_settings[key]):
                differences[key] = inner
        elif value != experiment_settings[key]:
            differences[key] = value
    return differences


def written_settings(instance_settings: Mapping[str, Any], experiment_settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an instance that config.yaml must contain, so that it is read back unchanged.

    These are the settings that differ from the experiment's, or from those that the strategy registers.
    """
    registered = registry.strategy(instance_settings["type"]).settings
    sections = {name: instance_settings[name] for name in OWN_SECTIONS}
    written = differing(sections, experiment_settings)
    for name, settings in registered.items():
        chosen = {key: sections[name][key] for key, value in settings.items() if sections[name][key] != value}
        if chosen:
            written[name] = chosen | written.get(name, {})
    return written


def settings_name(instance_settings: Mapping[str, Any], experiment_settings: Mapping[str, Any]) -> str:
    """Return `default` for the experiment's own settings, else 8 hexadecimal digits of what differs from them."""
    changes = differing(instance_settings, experiment_settings)
    if not changes:
        return DEFAULT
    return hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]
