"""A project of pictures with a white square each, and its rounds as they are opened: snapshots and configurations."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from mgral.data.formats.snapshot import PICTURES, Labelled, Picture, Snapshot, chunk_digest, chunk_json

SIZE = 32
"""Side of the pictures in pixels."""
SQUARE = 12
CLASS = 3
"""Id of the class."""
SETTINGS: dict[str, Any] = {
    "cycles": 1,
    "initial": 1,
    "budget": 3,
    "detector": {"name": "small_ssd", "width": SIZE, "height": SIZE, "channels": 4},
    "training": {"batch_size": 4},
    "iterations": {"detector": 4},
    "near_copies": {"difference": 2.0},
    "embedding": {"dimensions": 4},
}


@dataclass
class SquaresProject:
    """Writes what a project's own commands would."""

    folder: Path
    pictures: Path
    found: int = 0
    """Pictures so far; their numbers are from 1."""

    @classmethod
    def make(cls, folder: Path) -> "SquaresProject":
        """Make a project whose pictures are in a folder beside it."""
        project = cls(folder / "project", folder / "elsewhere")
        for one in (project.folder / PICTURES, project.pictures):
            one.mkdir(parents=True)
        (project.folder / "project.yaml").write_text(yaml.safe_dump({"pictures": {"camera": "../elsewhere"}}))
        return project

    def add(self, count: int, copies: Sequence[int] = ()) -> str:
        """Add pictures, then copies of some that hardly differ from them; return the digest of their chunk."""
        pictures = []
        for number in range(self.found + 1, self.found + 1 + count + len(copies)):
            like = number if number <= self.found + count else copies[number - self.found - count - 1]
            x, y = self.corner(like)
            pixels = np.random.default_rng(like).integers(0, 60, (SIZE, SIZE, 3)).astype(np.uint8)
            pixels[y : y + SQUARE, x : x + SQUARE] = 255
            pixels[0, 0] = number % 256
            path = self.pictures / f"{number}.png"
            Image.fromarray(pixels).save(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            pictures.append(Picture(number, digest, f"camera/{path.name}", SIZE, SIZE))
        self.found += len(pictures)
        content = chunk_json(pictures)
        digest = chunk_digest(content)
        (self.folder / PICTURES / f"{digest}.json").write_bytes(content)
        return digest

    @staticmethod
    def corner(number: int) -> tuple[int, int]:
        """Return where the square of a picture is."""
        x, y = np.random.default_rng(number).integers(0, SIZE - SQUARE, 2).tolist()
        return x, y

    def labelled(self, number: int, by: int = 0, incomplete: tuple[int, ...] = ()) -> Labelled:
        """Return a picture with its square, which somebody may have moved by some pixels."""
        x, y = self.corner(number)
        return Labelled(number, ((float(x + by), float(y), float(SQUARE), float(SQUARE), CLASS),), incomplete)

    def open(
        self,
        number: int,
        chunks: Sequence[str],
        labelled: Sequence[Labelled] = (),
        audit: Sequence[Labelled] = (),
        left_out: Sequence[int] = (),
        **settings: Any,
    ) -> Path:
        """Write the snapshot and the configuration of a round, and return the latter's path in the project."""
        name = f"round{number}"
        (self.folder / name).mkdir()
        classes = ((CLASS, "square"),)
        snapshot = Snapshot(
            "p", number, tuple(chunks), classes, tuple(labelled), tuple(audit), tuple(sorted(left_out))
        )
        path = Path(name, "snapshot.json")
        (self.folder / path).write_text(json.dumps(snapshot.as_json()))
        data = {"format": "project", "snapshot": str(path)}
        values = SETTINGS | {"experiment": name, "seeds": [number], "data": data} | settings
        if labelled:
            values["initial"] = len(labelled)
        config = Path(name, "config.yaml")
        (self.folder / config).write_text(yaml.safe_dump(values))
        return config
