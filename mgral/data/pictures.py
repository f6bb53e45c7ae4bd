"""Where the pictures of a project are now: its folders by name, and what was renamed since it was found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgral.artefacts.files import read_json
from mgral.config import read_values
from mgral.data.formats.snapshot import PICTURES
from mgral.errors import InputError, number_of, program

SETTINGS = "project.yaml"
"""File in the project's folder that has the folders of pictures by name."""
KEYS = ("pictures", "test_pictures")
"""Keys of that file whose values map names to folders of pictures."""
MOVED = "moved.json"
"""File beside the chunks with the new places of pictures, by their numbers; null for one that is gone for good."""


@dataclass(frozen=True)
class Places:
    """Where pictures are."""

    project: Path
    """The project's folder."""
    folders: dict[str, Path]
    moved: dict[int, str | None]

    def path(self, image: int, file: str) -> Path | None:
        """Return the file of an image that was found as FOLDER/path/below.jpg; None for one that is gone for good."""
        current_file = self.moved.get(image, file)
        if current_file is None:
            return None
        name, _, below = current_file.partition("/")
        return self.folders[name] / below if name in self.folders else self.project / current_file


def load_places(project: Path) -> Places:
    """Read where the pictures of the project in a folder are; raises InputError where its files do not say it."""
    path = project / PICTURES / MOVED
    try:
        renamed = {int(image): file for image, file in read_json(path).items()} if path.exists() else {}
    except (AttributeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error!r}); run: {program()} project scan") from None
    return Places(project, picture_folders(project), renamed)


def picture_folders(project: Path) -> dict[str, Path]:
    """Return the folders of pictures by name; relative ones start at the project's folder."""
    path = project / SETTINGS
    values = read_values(path)
    folders: dict[str, str] = {}
    for key in KEYS:
        mapping = values.get(key, {})
        if not isinstance(mapping, dict) or not all(isinstance(folder, str) for folder in mapping.values()):
            raise InputError(f"{path}: `{key}` is no mapping of names to folders; correct it")
        folders |= mapping
    return {str(name): project / Path(folder).expanduser() for name, folder in folders.items()}


def with_places(coco: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """Return a COCO JSON of a round with the files of its images as they are named now, absolute.

    Raises
    ------
    InputError
        Where one is gone for good.
    """
    places = load_places(project)
    images = [(image, places.path(image["id"], image["file_name"])) for image in coco["images"]]
    if gone := [image["file_name"] for image, path in images if path is None]:
        raise InputError(
            f"{number_of(len(gone), 'picture is', 'pictures are')} gone, such as {gone[0]}; put back or "
            f"run: {program()} project scan"
        )
    return {**coco, "images": [{**image, "file_name": str(path.absolute())} for image, path in images if path]}
