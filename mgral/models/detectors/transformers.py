"""Settings of the DETR family of the package `transformers`, whose architecture a checkpoint folder gives."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, PositiveFloat, field_validator, model_validator

from mgral.config.canvas import Canvas
from mgral.config.detector import DetectorConfig, known_weights
from mgral.config.detectors import register_detector
from mgral.config.section import Count, PathText, Probability

Colour = tuple[Probability, Probability, Probability]
Positive = tuple[PositiveFloat, PositiveFloat, PositiveFloat]
NO_MEAN, NO_DEVIATION = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ARCHITECTURE, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
"""Files of a checkpoint folder."""
CHECKPOINT = "checkpoint"
"""Value of `weights` that stands for those of the folder."""
DROPPED = {"id2label", "label2id", "num_labels", "architectures", "_name_or_path", "transformers_version"}
DROPPED |= {"dtype", "torch_dtype"}
"""Keys of config.json that say nothing of the architecture, or what the data set says."""
STRIDE = 32
"""Width and height must be multiples of this; RF-DETR has a step of its own, see `_step`."""


class Family(NamedTuple):
    """What is known of a model type before torch is imported."""

    weight_mb: float
    """Weights in float32 of the default architecture, in MB."""
    pixel_bytes: float
    """What a training of it keeps of each pixel for its backward pass, in float32, as counted on the CPU."""
    image_mb: float
    """Memory that it keeps in addition for each image, whatever its size, in MB: for its queries."""
    softmax: bool = False
    """Whether classes share a softmax with `no object`, the last; else each has a sigmoid."""
    normalised: bool = True
    """Whether images are brought to ImageNet's mean and deviation where the folder does not say it."""
    exact: bool = False
    """Whether every operation of a training is deterministic on a GPU. Sampling of maps at points is not, nor is the
    cross-entropy of logits with a dimension of queries."""


FAMILIES: dict[str, Family] = {
    "rt_detr": Family(171, 1728, 108, normalised=False),
    "rt_detr_v2": Family(171, 1728, 108, normalised=False),
    "d_fine": Family(125, 2044, 141, normalised=False),
    "rf_detr": Family(128, 2126, 623),
    "deformable_detr": Family(160, 4908, 73),
    "conditional_detr": Family(174, 1018, 52, exact=True),
    "dab-detr": Family(175, 1178, 98, exact=True),
    "detr": Family(166, 960, 15, softmax=True),
    "table-transformer": Family(166, 1040, 14, softmax=True),
    "yolos": Family(420, 2343, 62, softmax=True),
}
"""By `model_type` in config.json."""


@register_detector
class TransformersConfig(DetectorConfig):
    """A detector of the package `transformers` from a checkpoint folder; see `mgral.models.transformers_detector`."""

    network: ClassVar[str] = "mgral.models.transformers_detector:TransformersDetector"
    dense: ClassVar[bool] = False
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "backbone_rate": 0.1,
        "gradient_norm": 0.1,
    }
    package: ClassVar[str] = "transformers"

    name: Literal["transformers"]
    checkpoint: PathText
    """Folder with config.json and model.safetensors, as `save_pretrained` writes it."""
    weights: Annotated[PathText | None, known_weights(CHECKPOINT)] = CHECKPOINT
    """Weights that trainings start from: model.safetensors of the folder, or a file as for every detector; null
    starts from random weights and needs only config.json."""
    width: Count = 640
    """Width at which images are cached, trained on and evaluated, in pixels."""
    height: Count = 640
    """Height at which images are cached, trained on and evaluated, in pixels."""
    cache: Literal["decoded", "encoded"] = "decoded"
    """Whether the cache contains decoded pixels, or the image files, which a few threads decode again in each
    epoch."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """The architecture in config.json. Leave it out: it is read from the folder."""
    mean: Colour = NO_MEAN
    """Mean subtracted from red, green and blue in 0..1; by default that of preprocessor_config.json or of the model
    family."""
    deviation: Positive = NO_DEVIATION
    """Standard deviation by which they are then divided."""

    @model_validator(mode="before")
    @classmethod
    def _read_folder(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "architecture" in values or not isinstance(values.get("checkpoint"), str):
            return values
        folder = Path(values["checkpoint"]).expanduser()
        architecture = _without(_read_json(folder / ARCHITECTURE), DROPPED)
        return _normalisation(folder, architecture) | values | {"architecture": architecture}

    @field_validator("architecture", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return json.loads(json.dumps(value))  # tuples are lists again

    def faults(self) -> list[str]:
        """Return what is wrong with the settings together."""
        faults, model_type = super().faults(), self.architecture.get("model_type")
        if not isinstance(model_type, str) or model_type not in FAMILIES:
            return [
                *faults,
                f"detector.checkpoint: {self.checkpoint}/{ARCHITECTURE} is of the model type {model_type}; "
                f"choose a detector of one of these: {', '.join(FAMILIES)}",
            ]
        step = self._step
        for name, side in (("width", self.width), ("height", self.height)):
            if side % step:
                lower = max(step, side // step * step)
                faults.append(
                    f"detector.{name}: {model_type} takes multiples of {step}; choose {lower} or {lower + step}"
                )
        return faults

    @property
    def weights_file(self) -> str | None:
        """The file that trainings start from."""
        return f"{self.checkpoint}/{WEIGHTS}" if self.weights == CHECKPOINT else super().weights_file

    @property
    def settings_folder(self) -> str:
        """The folder that the architecture is read from."""
        return self.checkpoint

    @property
    def family(self) -> Family:
        """What is known of the model type."""
        return FAMILIES[self.architecture["model_type"]]

    @property
    def _step(self) -> int:
        if self.architecture["model_type"] != "rf_detr":
            return STRIDE
        backbone, step = self.architecture.get("backbone_config") or {}, 1
        for key, default in (("patch_size", 14), ("num_windows", 4)):
            value = backbone.get(key, default) if isinstance(backbone, dict) else None
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"detector.checkpoint: {self.checkpoint}/{ARCHITECTURE}: backbone_config has no usable {key}, "
                    f"found {value!r}; copy the folder again"
                )
            step *= value
        return step

    @property
    def image_canvas(self) -> Canvas:
        """The size that images are stretched to."""
        return Canvas(self.width, self.height)

    @property
    def caches_files(self) -> bool:
        """Whether the cache contains image files as they are, not pixels."""
        return self.cache == "encoded"

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weights in float32, of the family's default architecture."""
        return self.family.weight_mb * 1e6

    @property
    def training_bytes(self) -> float:
        """What a training keeps of an image, in bytes a pixel, of the family's default architecture."""
        return self.family.pixel_bytes + self.family.image_mb * 1e6 / (self.width * self.height)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(
            f"detector.checkpoint: {path}: {error.strerror}; name a folder with {ARCHITECTURE} and {WEIGHTS}, as "
            "save_pretrained of the package transformers writes it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"detector.checkpoint: {path} is not JSON ({error}); copy the folder again") from None
    if not isinstance(values, dict):
        raise ValueError(f"detector.checkpoint: {path} contains no keys; copy the folder again")
    return values


def _without(values: Any, keys: set[str]) -> Any:
    """Return JSON without some keys, at any depth; a backbone's own pre-trained weights are not asked for."""
    if isinstance(values, list):
        return [_without(value, keys) for value in values]
    if not isinstance(values, dict):
        return values
    filtered = {name: _without(value, keys) for name, value in values.items() if name not in keys}
    return filtered | ({"use_pretrained_backbone": False} if "use_pretrained_backbone" in filtered else {})


def _normalisation(folder: Path, architecture: dict[str, Any]) -> dict[str, Any]:
    """Return mean and deviation as the folder's preprocessor has them, or as the family does by default."""
    path = folder / PREPROCESSOR
    preprocessor = _read_json(path) if path.is_file() else {}
    family = FAMILIES.get(str(architecture.get("model_type")))
    if not preprocessor.get("do_normalize", family is not None and family.normalised):
        return {"mean": NO_MEAN, "deviation": NO_DEVIATION}
    normalisation = {}
    for key, name, default in (
        ("mean", "image_mean", IMAGENET_MEAN),
        ("deviation", "image_std", IMAGENET_DEVIATION),
    ):
        values = preprocessor.get(name)
        if values is not None and not isinstance(values, list):
            raise ValueError(
                f"detector.checkpoint: {path}: {name} is no list of three numbers, found {values!r}; correct it, or "
                f"set detector.{key}"
            )
        normalisation[key] = default if values is None else tuple(values)
    return normalisation
