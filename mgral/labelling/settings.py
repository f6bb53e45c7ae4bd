"""The settings of a project: `project.yaml`, which a person may edit."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from mgral.artefacts.files import write_bytes
from mgral.config import MAX_PIXELS, DeepGrey, Exif, MaxPixels, PictureSettings, resolve_config
from mgral.config.faults import explain
from mgral.config.reading import read_values
from mgral.config.section import Count, Name, PathText, Section
from mgral.errors import InputError, program

FILE = "project.yaml"
FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
Percent = Annotated[float, Field(gt=0, le=100)]
Conflicts = Literal["latest", "leave_out"]
Shapes = Literal["envelope", "refuse"]


def _not_reserved(settings: dict[str, Any]) -> dict[str, Any]:
    if reserved := {"experiment", "seeds", "cycles", "initial", "budget", "data", "strategies"} & set(settings):
        raise ValueError(f"settings: {', '.join(sorted(reserved))} follow from the project; remove them")
    return settings


class ProjectSettings(Section):
    """What a person decides about a project."""

    version: Literal[1] = 1
    """Version of these keys."""
    project: Name
    """Name of the project, as labelling tools show it."""
    pictures: Annotated[dict[FolderName, PathText], Field(min_length=1)]
    """Folders of pictures by a name that never changes; relative paths start at the project's folder."""
    test_pictures: dict[FolderName, PathText] = Field(default_factory=dict)
    """Folders of pictures of a test set, by name: evaluated on, and never chosen or trained on."""
    budget: Count
    """Pictures that people will label in all, the audit set included."""
    batch: Count
    """Pictures to label in a round."""
    audit: Annotated[int, Field(ge=0, le=10**9)] | None = None
    """Pictures of the audit set; null: 10 % of the budget or 50, the larger, at most 20 % of budget and pictures."""
    strategy: str = "class_presence_per_box"
    """Strategy that chooses batches once there are labels."""
    control: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Part of a batch that is drawn at random, to compare the strategy with (`mgral project control`)."""
    target: Annotated[dict[Literal["map", "ap50"], Percent], Field(min_length=1, max_length=1)] | None = None
    """Score on the audit or test set that is wanted, in percent, such as `{map: 40}`: `status` says how far it is."""
    video_names: str | None = None
    """Regular expression that is searched in a picture's file, FOLDER/path. Pictures with the same text in all its
    groups, or without groups the same matched text, are of one video, and a batch has at most one of them. Null:
    near-copies are found by their pixels."""
    conflicts: Conflicts = "latest"
    """Whose boxes are used where two people labelled a picture differently: the latest, or nobody's until one of
    them corrects the picture."""
    shapes: Shapes = "envelope"
    """Polygons, masks and turned boxes in imports: their upright envelope, or refused."""
    exif: Exif = "apply"
    """Whether labelling tools show pictures upright, as their EXIF orientation says."""
    deep_grey: DeepGrey = "refuse"
    """Grey pictures of more than 8 bits, see `data.deep_grey`."""
    max_pixels: MaxPixels = MAX_PIXELS
    """Largest number of pixels of a picture, see `data.max_pixels`; larger pictures are left out."""
    settings: Annotated[dict[str, Any], AfterValidator(_not_reserved)] = Field(default_factory=dict)
    """Further sections of a configuration, such as `detector` or `training`."""

    @field_validator("budget", "batch", mode="before")
    @classmethod
    def _in_pictures(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, dict):
            raise ValueError(f"{info.field_name}: a project counts pictures; give a number of pictures")
        return value

    @field_validator("test_pictures")
    @classmethod
    def _other_names(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if common := {*value} & {*info.data.get("pictures", ())}:
            raise ValueError(f"pictures, test_pictures: {', '.join(sorted(common))} is in both; choose another name")
        return value

    @field_validator("video_names")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"video_names: it is no regular expression ({error}); correct it") from None
        return value

    @property
    def decoding(self) -> PictureSettings:
        """How the files of pictures become pixels."""
        return PictureSettings(exif=self.exif, deep_grey=self.deep_grey, max_pixels=self.max_pixels)

    @property
    def target_score(self) -> tuple[str, float | None]:
        """Name of the score that is forecast, and its target, 0 to 1, if there is one."""
        name, value = next(iter((self.target or {}).items()), ("map", None))
        return name, None if value is None else value / 100


def load_project_settings(folder: Path) -> ProjectSettings:
    """Read the settings of the project in a folder.

    Raises
    ------
    InputError
        Where there is no project, or a setting is wrong, naming all that are.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(
            f"{folder} contains no project ({FILE}); go to its folder, or make one: {program()} project init"
        )
    return valid_settings(read_values(path), str(path))


def valid_settings(values: dict[str, Any], source: str) -> ProjectSettings:
    """Return the settings of a project from plain values.

    Parameters
    ----------
    source
        What has the values, such as the path of a file, for the error.

    Raises
    ------
    InputError
        Where some are wrong, naming all that are, also in the configuration that they ask for.
    """
    try:
        return ProjectSettings.model_validate(values)
    except ValidationError as error:
        lines = [explain(dict(fault), version=1, keys="docs/project-settings.md") for fault in error.errors()]
        lines += _faults_of_configuration(values)
        raise InputError(f"{source} is not valid:\n  " + "\n  ".join(lines)) from None


def _faults_of_configuration(values: dict[str, Any]) -> list[str]:
    """Return what is wrong with `strategy` and `settings`, which otherwise is said when a round is opened."""
    sections, strategy = values.get("settings", {}), values.get("strategy")
    strategies = {"strategies": [strategy]} if isinstance(strategy, str) else {}
    data = {"format": "project", "snapshot": "round1/snapshot.json"}
    try:
        resolve_config(
            {**(sections if isinstance(sections, dict) else {}), "cycles": 1, "budget": 1, "data": data, **strategies}
        )
    except InputError as error:
        faults = str(error).split("\n  ")[1:] or [str(error)]
        return [re.sub("^strategies:", "strategy:", fault) for fault in faults]
    return []


HEADER = """\
# A project of mgral; what each key means: docs/project-settings.md. A change counts from the next round.
# `settings` takes further sections of a configuration, such as detector or training.
"""


def write_project_settings(folder: Path, settings: ProjectSettings) -> None:
    """Write project.yaml with every key, so that a person sees what there is to change."""
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_bytes(folder / FILE, (HEADER + text).encode())


def audit_size(settings: ProjectSettings, picture_count: int) -> int:
    """Return how many pictures the audit set has: `audit`, or what follows from the budget.

    10 % of the budget or 50, the larger, but at most 20 % of the budget and of the pictures.
    """
    if settings.audit is not None:
        return min(settings.audit, picture_count)
    wanted = max(50, round(0.1 * settings.budget))
    return min(wanted, settings.budget // 5, picture_count // 5)
