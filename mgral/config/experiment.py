"""A whole experiment, and how it is read from YAML."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, PositiveInt, ValidationError, WithJsonSchema, model_validator

from mgral.config import registry
from mgral.config.data import DataConfig, SyntheticData
from mgral.config.detector import EvaluationConfig
from mgral.config.detectors import AnyDetector, read_section
from mgral.config.method import AgentConfig, EmbeddingConfig, FidelityConfig, LutConfig, RewardConfig
from mgral.config.section import Name, Section
from mgral.config.training import IterationsConfig, SemiSupervisedConfig, TrainingConfig
from mgral.errors import InputError


def _known(name: str) -> str:
    try:
        registry.strategy(name)
    except InputError as error:
        raise ValueError(str(error)) from None
    return name


Strategy = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(registry.strategies())})
]


class ContainerConfig(Section):
    """Where the jobs run, not what they do: it is left out of config.yaml, and changes no result."""

    image: str = "docker://mgral/mgral:0.1.0"
    """What `snakemake --use-singularity` runs the jobs in: a registry's image, or the path of a SIF (make image)."""


class Config(Section):
    """A whole experiment."""

    experiment: Name = "synthetic"
    """Name of the results folder."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1)
    """Repetitions; each draws its own initial labelled set and its own training randomness."""
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)] = ("mgral", "random", "entropy_anchors")
    cycles: PositiveInt = 3
    """Query batches; each curve has one point more."""
    initial: PositiveInt = 40
    """Labelled images at the start."""
    budget: PositiveInt = 40
    """Images labelled in a cycle."""
    data: DataConfig = SyntheticData()
    detector: AnyDetector = Field(default_factory=lambda: read_section({}))
    training: TrainingConfig = TrainingConfig()
    iterations: IterationsConfig = IterationsConfig()
    semi_supervised: SemiSupervisedConfig = SemiSupervisedConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    lut: LutConfig = LutConfig()
    reward: RewardConfig = RewardConfig()
    agent: AgentConfig = AgentConfig()
    fidelity: FidelityConfig = FidelityConfig()
    container: Annotated[ContainerConfig, Field(exclude=True)] = ContainerConfig()

    @model_validator(mode="after")
    def _look_up_has_what_it_goes_by(self) -> "Config":
        if self.reward.distance == "by_class" and not self.embedding.object_counts:
            raise ValueError(
                "reward.distance: by_class needs embedding.object_counts; set that to true, or the distance to sliced"
            )
        return self

    @model_validator(mode="after")
    def _repetitions_differ(self) -> "Config":
        for key, values in (("seeds", self.seeds), ("strategies", self.strategies)):
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: {list(values)} repeats an entry; list each once")
        if isinstance(self.data, SyntheticData):
            check_budget(self, self.data.train_images)
        return self


def check_budget(config: Config, images: int) -> None:
    """Raise ValueError where the experiment asks for more labels than there are training `images`."""
    asked = config.initial + config.cycles * config.budget
    if asked > images:
        raise ValueError(
            f"budget: {config.initial} initial images and {config.cycles} cycles of {config.budget} are {asked}, "
            f"but there are {images} training images; lower budget, cycles or initial"
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
        found = error.errors()
        # A list without its faulty entries is too short, which is no fault of its own.
        faulty = {item["loc"][:-1] for item in found}
        lines = [_explain(dict(item)) for item in found if item["type"] != "too_short" or item["loc"] not in faulty]
        raise InputError("the configuration is not valid:\n  " + "\n  ".join(lines)) from None


def load_config(path: Path) -> Config:
    """Read and validate a YAML file; raises InputError as `resolve_config` does."""
    return resolve_config(read_values(path))


def read_values(path: Path) -> dict[str, Any]:
    """Read a YAML file of configuration keys without validating them; raises InputError where it holds none."""
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name an existing configuration file") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML ({error}); correct its syntax") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no keys; see params.yaml for an example")
    return values


def config_yaml(config: Config) -> bytes:
    """Return the whole configuration, defaults filled in, as the text of config.yaml."""
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


def _explain(error: dict[str, Any]) -> str:
    tags = {"synthetic", "voc", "coco"}
    key = ".".join(str(part) for part in error["loc"] if part not in tags)
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct it (see workflow/schemas/config.schema.json)"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{key}: is required; add it"
    return f"{key}: {error['msg']}, found {error['input']!r}; correct the value"
