"""Settings of a detector of the user's own, which is a command that reads and writes files."""

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from mgral.config.canvas import Canvas
from mgral.config.detector import DetectorConfig, Gift
from mgral.config.detectors import ProxyDetector, read_section, register_detector
from mgral.config.section import PathText

PLACEHOLDERS = ("train", "pool", "test", "output", "scratch", "seed", "gpus")
"""What a command may name in braces; docs/external-detector.md says what each stands for."""
PLACEHOLDER = re.compile(r"(?<!\$)\{([a-z_]+)\}")
"""Matches a word in braces, but not a variable of the shell, such as `${home}`."""


def _with_known_placeholders(command: str) -> str:
    names = PLACEHOLDER.findall(command)
    if unknown := [f"{{{name}}}" for name in names if name not in PLACEHOLDERS]:
        choices = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"detector.command: there is no {', '.join(unknown)}; there are {choices}")
    if lacking := [f"{{{name}}}" for name in ("train", "test", "output") if name not in names]:
        raise ValueError(
            f"detector.command: it lacks {', '.join(lacking)}, without which it cannot do its work; add it"
        )
    return command


@register_detector
class ExternalConfig(DetectorConfig):
    """A detector of your own: a command that reads and writes files; see docs/external-detector.md."""

    dense: ClassVar[bool] = False

    name: Literal["external"] = "external"
    weights: None = None
    """Always null: the command chooses its own initial weights."""
    command: Annotated[str, AfterValidator(_with_known_placeholders)]
    """Shell command that trains on {train} and writes its detections in {test} and {pool} to the folder {output}."""
    container: PathText | None = None
    """Image in which Apptainer runs the command, a file or an address; null runs it without a container."""
    gives: tuple[Gift, ...] = ()
    """What the command writes in addition to boxes and scores of the test images: probabilities (class probabilities
    of each box in all training images), features (a vector for each training image)."""
    proxy: ProxyDetector = Field(default_factory=lambda: read_section({}))
    """The detector that MGRAL trains in place of the command, for lookup tables, fidelity, and embeddings if there
    are no features."""

    @property
    def command_gives(self) -> tuple[Gift, ...]:
        """What the command writes beside boxes and scores of the test images."""
        return self.gives

    @property
    def trained(self) -> DetectorConfig:
        """The proxy, the only detector that MGRAL trains here."""
        return self.proxy

    def with_trained(self, trained: DetectorConfig) -> DetectorConfig:
        """Return this section with another proxy."""
        return self.model_copy(update={"proxy": trained})

    @property
    def open_keys(self) -> tuple[str, ...]:
        """Null settings of the proxy, derived from the data."""
        return self.proxy.open_keys

    @property
    def anchor_strides(self) -> tuple[int, ...]:
        """Strides of the proxy's maps, in pixels."""
        return self.proxy.anchor_strides

    @property
    def largest_canvas(self) -> Canvas:
        """The largest canvas that the proxy can have."""
        return self.proxy.largest_canvas

    @property
    def least_images(self) -> int:
        """Fewest images that the proxy can be trained on at once."""
        return self.proxy.least_images

    @property
    def settings_folder(self) -> str | None:
        """The folder that the proxy's settings are read from."""
        return self.proxy.settings_folder

    def lacks(self, requires: Sequence[str], views: int) -> str | None:
        """Return what a strategy that runs the detector needs and a command does not give."""
        if {"detections", "dense"}.isdisjoint(requires):
            return None
        if (lacking := super().lacks(requires, views)) is not None:
            return lacking
        if views > 1:
            return "a detector that is shown changed images, and a command is not"
        return None if "probabilities" in self.gives else "probabilities, and detector.gives does not name them"

    @property
    def image_canvas(self) -> Canvas:
        """The canvas of the proxy; the command opens the pictures themselves."""
        return self.proxy.image_canvas

    @property
    def caches_files(self) -> bool:
        """Whether the proxy's cache contains image files, not pixels."""
        return self.proxy.caches_files

    @property
    def weights_file(self) -> str | None:
        """The user's file of weights that the proxy starts from."""
        return self.proxy.weights_file

    @property
    def weight_bytes(self) -> float:
        """Bytes of the proxy's weights in float32."""
        return self.proxy.weight_bytes

    @property
    def training_bytes(self) -> float:
        """Memory that a training of the proxy keeps, in bytes for each pixel."""
        return self.proxy.training_bytes

    @property
    def inference_bytes(self) -> float:
        """Memory that inference of the proxy takes, in bytes for each pixel."""
        return self.proxy.inference_bytes
