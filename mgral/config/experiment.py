"""A complete experiment, and how it is read from YAML."""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import yaml
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from mgral.config import registry
from mgral.config.budget import Budget, BudgetConfig
from mgral.config.data import DataConfig, NearCopiesConfig, ProjectData, SyntheticData
from mgral.config.detector import DetectorConfig, EvaluationConfig
from mgral.config.detectors import AnyDetector
from mgral.config.faults import explain
from mgral.config.instances import (
    DEFAULT,
    OWN_SECTIONS,
    Given,
    InstanceName,
    StrategyConfig,
    complete_instances,
    settings_name,
    written_settings,
)
from mgral.config.method import AgentConfig, EmbeddingConfig, FidelityConfig, Labels, LutConfig, RewardConfig, Start
from mgral.config.reading import read_values
from mgral.config.section import Count, Name, PathText, Section
from mgral.config.training import IterationsConfig, SemiSupervisedConfig, TrainingConfig
from mgral.errors import InputError


class ContainerConfig(Section):
    """The image in which jobs run. It changes no result, so it is left out of config.yaml."""

    image: PathText = "docker://mgral/mgral:0.1.0"
    """Image for `snakemake --use-singularity`: an address in a registry, or the path of a SIF file, which `make
    image` builds in a clone."""


SharedArtefact = Literal["embedding", "table", "reward"]
"""Artefacts that instances with equal settings share."""
ORDER = ("version", "experiment", "seeds", "strategies")
"""Keys that config.yaml has first. `Config` has `strategies` last, as its validation needs the other sections."""


class Config(Section):
    """A complete experiment."""

    version: Literal[2] = 2
    """Version of the configuration's keys; it rises when a key is renamed or removed."""
    experiment: Name = "synthetic"
    """Name of the results folder."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=-(10**18), le=10**18)], ...], Field(min_length=1)] = (0, 1)
    """Repetitions; each draws its own initial labelled set and its own training randomness."""
    cycles: Count = 3
    """Query batches; each curve has one point more."""
    initial: Count = 40
    """Labelled images at the start."""
    budget: Budget = 40
    """Images labelled in each cycle, or `{unit: boxes, amount: 500}`: boxes labelled in each cycle."""
    data: DataConfig = SyntheticData()
    near_copies: NearCopiesConfig = NearCopiesConfig()
    detector: Annotated[AnyDetector, Field(validate_default=True)] = cast(DetectorConfig, {})
    training: Annotated[TrainingConfig, Field(validate_default=True)] = cast(TrainingConfig, {})
    """Settings of training; some defaults depend on the detector."""
    iterations: Annotated[IterationsConfig, Field(validate_default=True)] = cast(IterationsConfig, {})
    semi_supervised: SemiSupervisedConfig = SemiSupervisedConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    lut: LutConfig = LutConfig()
    reward: RewardConfig = RewardConfig()
    agent: AgentConfig = AgentConfig()
    fidelity: FidelityConfig = FidelityConfig()
    container: Annotated[ContainerConfig, Field(exclude=True)] = ContainerConfig()
    strategies: Annotated[dict[InstanceName, StrategyConfig], Field(min_length=1, validate_default=True)] = Field(
        default=cast(dict[str, StrategyConfig], None)
    )
    """Strategies to compare: a list of names, named instances with their own settings, or `all` that work with the
    detector. The default is mgral_greedy, random, sqrt_counts (the simple baseline) and the first of
    entropy_anchors, entropy_sum and core_set that works with the detector."""

    @field_validator("training", mode="before")
    @classmethod
    def _complete_training(cls, settings: Any, info: ValidationInfo) -> Any:
        detector = info.data.get("detector")  # none where it is not valid
        if not detector or not isinstance(settings, dict):
            return settings
        return completed(settings, detector.trained.training_defaults)

    @field_validator("iterations", mode="before")
    @classmethod
    def _complete_iterations(cls, settings: Any, info: ValidationInfo) -> Any:
        detector = info.data.get("detector")
        if not detector or not isinstance(settings, dict):
            return settings
        return completed(settings, detector.trained.iteration_defaults)

    @field_validator("strategies", mode="before", json_schema_input_type=Given)
    @classmethod
    def _complete_instances(cls, strategies: Any, info: ValidationInfo) -> Any:
        return complete_instances(strategies, info.data)

    @model_validator(mode="after")
    def _detector_suffices(self) -> "Config":
        lacking: dict[str, list[str]] = {}
        for name, instance in self.strategies.items():
            info = registry.strategy(instance.type)
            if (need := self.detector.lacks(info.requires, info.views)) is not None:
                lacking.setdefault(need, []).append(name)
        faults = [
            f"strategies: {', '.join(names)} need{'s' * (len(names) == 1)} {need}; leave these out, or choose "
            "another detector"
            for need, names in lacking.items()
        ]
        consistent = [name for name in self.with_tables if self.strategies[name].lut.labels == "consistency"]
        if self.lut.labels == "consistency":
            consistent = consistent or ["snakemake fidelity"]
        if consistent and not self.detector.trained.dense:
            faults.append(
                f"lut.labels: consistency (of {', '.join(consistent)}) needs a detector with anchors on feature "
                f"maps, and {self.detector.trained.name} has none; choose other labels, or another detector"
            )
        by_batch = {
            name: instance for name in self.agents if (instance := self.strategies[name]).agent.policy == "batch"
        }
        by_distance = [name for name, instance in by_batch.items() if instance.reward.estimator != "regression"]
        if by_distance:
            faults.append(
                f"agent.policy: batch (of {', '.join(by_distance)}) adds up what images are worth to a batch; only "
                "reward.estimator: regression knows that. Set agent.policy: lstm, or the estimator to regression"
            )
        infos = {name: registry.strategy(instance.type) for name, instance in by_batch.items()}
        without_tables = [name for name, info in infos.items() if "tables" not in info.requires]
        if without_tables:
            names = ", ".join(without_tables)
            faults.append(
                f"agent.policy: batch (of {names}) needs the lookup tables when it chooses, and a strategy of this "
                "type has none; set agent.policy: lstm, or type: mgral"
            )
        training, trained = self.training, self.detector.trained
        if training.batch_size < (least := trained.least_images * training.accumulate):
            parts = training.batch_size // training.accumulate
            faults.append(
                f"training.batch_size: parts of {parts} images are too small for the batch normalisation of "
                f"{trained.name}; raise it to {least} or more"
            )
        if faults:
            raise ValueError("\n  ".join(faults))
        return self

    @model_validator(mode="after")
    def _repetitions_differ(self) -> "Config":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} repeats an entry; list each once")
        if "cycle" in self.fidelity.model_fields_set and self.fidelity.cycle > self.cycles:
            raise ValueError(f"fidelity.cycle: {self.fidelity.cycle} is above cycles, {self.cycles}; lower it")
        if isinstance(self.data, SyntheticData):
            check_budget(self, self.data.train_images)
        return self

    @model_validator(mode="after")
    def _is_a_round(self) -> "Config":
        if not isinstance(self.data, ProjectData):
            return self
        faults = []
        for key, count in (("cycles", self.cycles), ("strategies", len(self.strategies))):
            if count != 1:
                faults.append(f"{key}: a round of a project has one, found {count}; give one")
        if isinstance(self.budget, BudgetConfig):
            faults.append("budget: a round of a project counts pictures, found boxes; give a number of pictures")
        if faults:
            raise ValueError("\n  ".join(faults))
        return self

    @model_serializer(mode="wrap")
    def _without_common_settings(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        values["strategies"] = {
            name: {"type": instance["type"], **written_settings(instance, values)}
            for name, instance in values["strategies"].items()
        }
        return {key: values[key] for key in (*ORDER, *values) if key in values}

    def for_strategy(self, name: str) -> "Config":
        """Return the experiment with the settings of an instance in place of its own.

        Raises
        ------
        InputError
            Where the experiment has no instance of this name.
        """
        if name not in self.strategies:
            raise InputError(f"strategy {name} is not in the configuration; it has {', '.join(self.strategies)}")
        instance = self.strategies[name]
        return self.model_copy(update={section: getattr(instance, section) for section in OWN_SECTIONS})

    def with_instance(self, name: str) -> "Config":
        """Return the experiment with one more instance: a registered strategy with the settings that it registers.

        Raises
        ------
        InputError
            Where no strategy has this name.
        """
        registry.strategy(name)
        experiment_settings = {section: getattr(self, section) for section in OWN_SECTIONS}
        instance = StrategyConfig.model_validate(complete_instances([name], experiment_settings)[name])
        return self.model_copy(update={"strategies": {**self.strategies, name: instance}})

    @property
    def open_keys(self) -> dict[str, tuple[str, ...]]:
        """By section, the settings that are null, and so are derived from the data; no section without one."""
        keys_by_section = {"detector": self.detector.open_keys, "iterations": self.iterations.open_keys}
        return {section: keys for section, keys in keys_by_section.items() if keys}

    def with_derived(self, values: Mapping[str, Mapping[str, Any]]) -> "Config":
        """Return the experiment with its null settings replaced by `values`; values of other settings are ignored.

        Raises
        ------
        InputError
            If a value is not valid.
        """
        update = {}
        for section, keys in self.open_keys.items():
            settings = self.detector.trained if section == "detector" else getattr(self, section)
            derived = values.get(section, {})
            filled = {key: _lists_to_tuples(derived[key]) for key in keys if key in derived}
            try:
                update[section] = type(settings).model_validate(settings.model_dump() | filled)
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(map(str, (section, *first["loc"])))
                raise InputError(
                    f"derived settings: {key}: {first['msg']}, found {first['input']!r}; delete the file, and run "
                    "its step again"
                ) from None
        if "detector" in update:
            update["detector"] = self.detector.with_trained(update["detector"])
        return self.model_copy(update=update)

    @property
    def agents(self) -> tuple[str, ...]:
        """The instances that choose by an agent."""
        return tuple(
            name for name, instance in self.strategies.items() if "agent" in registry.strategy(instance.type).requires
        )

    @property
    def with_tables(self) -> tuple[str, ...]:
        """The instances that choose by lookup tables, with an agent or without."""
        return tuple(
            name for name, instance in self.strategies.items() if registry.strategy(instance.type).needs_tables
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """The instances that pages are about, the main one first: those that choose by lookup tables.

        The main one is named mgral_greedy or else mgral, or it is the first.
        """
        main = next((name for name in ("mgral_greedy", "mgral") if name in self.with_tables), None)
        return tuple(sorted(self.with_tables, key=lambda name: name != main))

    def name_of(self, kind: SharedArtefact, strategy: str) -> str:
        """Return the name of the settings that decide about an artefact of an instance."""
        return settings_name(self.for_strategy(strategy)._deciding(kind), self._deciding(kind))

    def with_settings(self, kind: SharedArtefact, name: str) -> "Config":
        """Return the experiment with the settings of this name in place of its own; InputError if there are none."""
        sections = self._deciding(kind)
        for candidate in (self, *map(self.for_strategy, self.strategies), *self._fidelity_settings()):
            if settings_name(candidate._deciding(kind), sections) == name:
                return self.model_copy(update={section: getattr(candidate, section) for section in sections})
        raise InputError(
            f"--{kind} {name}: no strategy of the configuration has settings of this name; run snakemake"
        )

    def owner_of(self, kind: SharedArtefact, name: str) -> str | None:
        """Return the first instance whose settings have this name; None for `default` and where there is none."""
        owners = (strategy for strategy in self.strategies if self.name_of(kind, strategy) == name)
        return None if name == DEFAULT else next(owners, None)

    def embedding_in(self, experiment: "Config") -> str:
        """Return the name that this configuration's embedding settings have in another experiment."""
        return settings_name(self._deciding("embedding"), experiment._deciding("embedding"))

    @property
    def gain_jobs(self) -> list[tuple[int, int]]:
        """The first and the last of the batches 0..M of each job of `snakemake fidelity` that measures gains."""
        size, last = max(1, self.lut.variants_per_job // self.fidelity.repeats), self.fidelity.batches
        return [(first, min(first + size - 1, last)) for first in range(0, last + 1, size)]

    def fidelity_tables(self) -> tuple[str, ...]:
        """Return the names of the tables that `snakemake fidelity` compares with true gains."""
        sections = self._deciding("table")
        return tuple(settings_name(config._deciding("table"), sections) for config in self._fidelity_settings())

    def _fidelity_settings(self) -> Iterator["Config"]:
        if self.fidelity.tables == "own":
            yield self
            return
        kinds = [labels for labels in get_args(Labels) if self.detector.trained.dense or labels != "consistency"]
        for labels, start in product(kinds, get_args(Start)):
            lut = self.lut.model_copy(update={"labels": labels, "start": start})
            yield self.model_copy(update={"lut": lut})

    def _deciding(self, kind: SharedArtefact) -> dict[str, dict[str, Any]]:
        """Return the settings that decide about an artefact, by section."""
        if kind == "reward":
            return {"reward": self.reward.model_dump(mode="json", include={"distance", "projections"})}
        if kind == "embedding":
            return {"embedding": self.embedding.model_dump(mode="json", include={"dimensions"})}
        # In which cycles tables are made, and for how many splits, does not change the content of one.
        lut = self.lut.model_dump(mode="json", exclude={"refresh", "splits"})
        sections = {name: getattr(self, name).model_dump(mode="json") for name in ("embedding", "semi_supervised")}
        return {**sections, "lut": lut}


def check_budget(config: Config, images: int) -> None:
    """Raise ValueError where the experiment asks for more labels than there are training `images`.

    A budget in boxes is checked when the data set has been read (`mgral.selection.spending.check_boxes`). A round of
    a project may ask for any number.
    """
    if isinstance(config.data, ProjectData):
        return
    if isinstance(config.budget, BudgetConfig):
        if config.initial >= images:
            raise ValueError(
                f"initial: {config.initial} images are labelled at the start, and there are {images} training "
                "images, so none is left to choose; lower initial"
            )
        return
    chosen = config.cycles * config.budget
    if (total := config.initial + chosen) > images:
        budget, initial = (images - config.initial) // config.cycles, images - chosen
        fits = [f"{key} to {most}" for key, most in (("budget", budget), ("initial", initial)) if most > 0]
        raise ValueError(
            f"budget: {config.initial} initial images and {config.cycles} cycles of {config.budget} are {total}, "
            f"but there are {images} training images; lower {' or '.join(fits) or 'budget, cycles and initial'}"
        )


def resolve_config(values: dict[str, Any]) -> Config:
    """Validate plain values, as read from YAML, and fill in the defaults.

    Raises
    ------
    InputError
        Naming each faulty key, the value found and what is allowed.
    """
    try:
        return Config.model_validate(_lists_to_tuples(values))
    except ValidationError as error:
        errors = error.errors()
        # A list without its faulty entries is too short, which is no fault of its own.
        faulty = {item["loc"][:-1] for item in errors}
        lines = [explain(dict(item)) for item in errors if item["type"] != "too_short" or item["loc"] not in faulty]
        raise InputError("the configuration is not valid:\n  " + "\n  ".join(lines)) from None


def load_config(path: Path) -> Config:
    """Read and validate a YAML file; raises InputError as `resolve_config` does."""
    return resolve_config(read_values(path))


def completed(values: Mapping[Any, Any], defaults: Mapping[str, Any]) -> dict[Any, Any]:
    """Return the settings completed by `defaults`, also within nested sections."""
    nested = {name for name in defaults if isinstance(values.get(name), dict) and isinstance(defaults[name], Mapping)}
    return {**defaults, **values} | {name: completed(values[name], defaults[name]) for name in nested}


def config_yaml(config: Config) -> bytes:
    """Return the complete configuration, defaults filled in, as the text of config.yaml."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode()


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration, as kept in workflow/schemas/config.schema.json."""
    return Config.model_json_schema()


def _lists_to_tuples(value: Any) -> Any:
    """YAML knows no tuples, which a strict model asks for."""
    if isinstance(value, dict):
        return {key: _lists_to_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_lists_to_tuples(item) for item in value)
    return value
