"""The experiment's configuration: one typed, strict model, the only place where a default is written."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from mgral.errors import InputError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Strategy = Literal["mgral", "random", "entropy"]


class Section(BaseModel):
    """A part of the configuration: unknown keys and silently converted types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class SyntheticData(Section):
    """Scenes drawn by seed; see `mgral.data.synthetic`."""

    format: Literal["synthetic"] = "synthetic"
    train_images: PositiveInt = 480
    """Images in the training set (labelled and pool together)."""
    test_images: PositiveInt = 160
    """Images in the test set."""
    seed: int = 0
    """Seed of the scenes; independent of the experiment's seeds."""
    strict: bool = False
    """Make a faulty box an error instead of dropping it with a count."""


class VocData(Section):
    """A folder in the PASCAL VOC layout: Annotations, ImageSets/Main, JPEGImages."""

    format: Literal["voc"]
    root: str
    """The folder, absolute or relative to the working directory."""
    train_split: str = "trainval"
    """Name of the list in ImageSets/Main whose images can be labelled."""
    test_split: str = "test"
    """Name of the list in ImageSets/Main that only the final evaluation of a cycle sees."""
    strict: bool = False
    """Make a faulty box an error instead of dropping it with a count."""


class CocoData(Section):
    """COCO JSON files and the image folders that belong to them."""

    format: Literal["coco"]
    root: str
    """The folder that the other paths are relative to; absolute or relative to the working directory."""
    train_annotations: str = "annotations/instances_train.json"
    """COCO JSON of the images that can be labelled."""
    train_images: str = "train"
    """Folder of those images."""
    test_annotations: str = "annotations/instances_test.json"
    """COCO JSON that only the final evaluation of a cycle sees."""
    test_images: str = "test"
    """Folder of those images."""
    strict: bool = False
    """Make a faulty box an error instead of dropping it with a count."""


DataConfig = Annotated[SyntheticData | VocData | CocoData, Field(discriminator="format")]


class DetectorConfig(Section):
    """The architecture; `mgral.detectors.build_detector` makes it."""

    name: Literal["small_ssd"] = "small_ssd"
    width: PositiveInt = 128
    """Width at which images are cached, trained on and evaluated, in pixels."""
    height: PositiveInt = 128
    """Height at which images are cached, trained on and evaluated, in pixels."""
    channels: PositiveInt = 16
    """Channels at stride 2; the coarser maps hold multiples of it."""
    anchor_scales: tuple[Fraction, Fraction, Fraction, Fraction, Fraction] = (0.08, 0.15, 0.28, 0.5, 0.8)
    """Anchor sizes on the four feature maps, finest first, and one past the last, as fractions of the image."""
    aspect_ratios: tuple[PositiveFloat, ...] = (2.0,)
    """Aspect ratios of the anchors beside 1; each stands for itself and its inverse."""


class AugmentationConfig(Section):
    """Random changes of a training image; each keeps or moves its boxes."""

    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    zoom_in: Annotated[float, Field(ge=1)] = 1.5
    """Largest enlargement, of which the image shows a crop; log-uniform with `zoom_out`, 1 turns it off."""
    zoom_out: Annotated[float, Field(ge=1)] = 1.5
    """Largest shrinking, onto a grey canvas; 1 turns it off, as is better where objects are small already."""
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Largest relative change of brightness, contrast and saturation; 0 turns it off."""


class IterationsConfig(Section):
    """Optimiser steps of each kind of training."""

    detector: PositiveInt = 300
    """Of the detector of cycle 0, trained on `initial` images."""
    growth: Probability = 0.75
    """How a detector's steps grow with its labelled images n: detector * (n / initial)^growth. 0 gives all detectors
    the same number of steps, 1 the same number of epochs; the reference on all training images follows it too."""
    base: PositiveInt = 200
    """Of the detector that every variant of the look-up table starts from."""
    variant: PositiveInt = 60
    """Of each variant."""


class SemiSupervisedConfig(Section):
    """How a variant learns from images without labels."""

    batch_size: PositiveInt = 8
    """Images of the subset in a step, beside the labelled ones."""
    weight: NonNegativeFloat = 1.0
    """Factor of the consistency loss at the top of its ramp."""


class TrainingConfig(Section):
    """How every detector is trained."""

    batch_size: PositiveInt = 16
    """Images in a step."""
    learning_rate: PositiveFloat = 2e-3
    """Peak learning rate of AdamW; warmed up over the first twentieth, then lowered by a half cosine."""
    weight_decay: NonNegativeFloat = 5e-4
    augmentation: AugmentationConfig = AugmentationConfig()


class EvaluationConfig(Section):
    """How boxes become detections before pycocotools scores them."""

    score_threshold: Probability = 0.01
    """Detections below it are dropped."""
    nms_iou: Fraction = 0.45
    """Overlap above which the weaker of two detections of a class is dropped."""
    max_detections: PositiveInt = 100
    """Detections kept an image."""


class EmbeddingConfig(Section):
    """What an image looks like to the LUT and to the agent."""

    dimensions: PositiveInt = 32
    """Principal components kept of the pooled backbone features, at most the number of training images."""


class LutConfig(Section):
    """The look-up table of detector variants."""

    variants: Annotated[int, Field(ge=2)] = 15
    """K, detectors trained on a subset each (one more is trained on no subset)."""
    variants_per_job: PositiveInt = 1
    """Variants that one job trains, one after the other; more than 1 where they are as short as a job's start."""
    subset_size: PositiveInt | None = None
    """Images in a subset; the budget unless given."""
    clusters: PositiveInt = 8
    """k-means clusters that the subsets are mixtures of."""
    concentration: PositiveFloat = 0.3
    """Of the Dirichlet mixture weights; the smaller, the more a subset keeps to few clusters."""
    labels: Literal["semi_supervised", "labelled_subsets"] = "labelled_subsets"
    """What a variant learns from its subset: consistency without labels (the paper), or labels already paid for."""
    refresh: Literal["once", "every_cycle"] = "once"
    """Whether the table of cycle 0 serves all cycles, or each cycle trains its own."""
    reward_fraction: Fraction = 0.4
    """Part of the labelled images on which rewards are measured, and on which no variant trains."""


class RewardConfig(Section):
    """How the table answers what a batch is worth."""

    distance: Literal["sliced", "exact"] = "sliced"
    """Wasserstein distance over fixed random projections, or the exact one."""
    projections: PositiveInt = 64
    """Projections of the sliced distance."""
    estimator: Literal["kernel", "nearest"] = "kernel"
    """A soft mean over the variants, or the nearest variant's value (the paper)."""


class AgentConfig(Section):
    """The LSTM agent and its policy gradient."""

    episodes: PositiveInt = 200
    samples: PositiveInt = 8
    """Batches drawn and looked up in an episode."""
    learning_rate: PositiveFloat = 3e-3
    """Of Adam."""
    hidden: PositiveInt = 64
    """Units of the LSTM and of the MLP's hidden layer."""
    window: PositiveInt = 32
    """Images that the LSTM sees in a row; windows are scored in parallel."""
    reference: Literal["moving_average", "previous"] = "moving_average"
    """What a reward is compared with: the mean of past rewards, or the previous episode's."""
    reference_decay: Fraction = 0.9
    """Weight of the past in the moving average."""


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
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)] = ("mgral", "random", "entropy")
    cycles: PositiveInt = 3
    """Query batches; each curve has one point more."""
    initial: PositiveInt = 40
    """Labelled images at the start."""
    budget: PositiveInt = 40
    """Images labelled in a cycle."""
    data: DataConfig = SyntheticData()
    detector: DetectorConfig = DetectorConfig()
    training: TrainingConfig = TrainingConfig()
    iterations: IterationsConfig = IterationsConfig()
    semi_supervised: SemiSupervisedConfig = SemiSupervisedConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    lut: LutConfig = LutConfig()
    reward: RewardConfig = RewardConfig()
    agent: AgentConfig = AgentConfig()
    container: Annotated[ContainerConfig, Field(exclude=True)] = ContainerConfig()

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
        lines = [_explain(dict(item)) for item in error.errors()]
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
