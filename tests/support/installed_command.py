"""A project of pictures with a white square each, by the installed command."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

MGRAL = Path(sys.executable).with_name("mgral")
SIZE, SQUARE = 48, 16
SETTINGS = {
    "detector": {"name": "small_ssd", "width": 32, "height": 32, "channels": 4},
    "training": {"batch_size": 4},
    "iterations": {"detector": 6},
    "near_copies": {"difference": 1.0},
    "embedding": {"dimensions": 4},
}


def corner(number: int) -> tuple[int, int]:
    """Return where the square of a picture is."""
    x, y = np.random.default_rng(number).integers(0, SIZE - SQUARE, 2).tolist()
    return x, y


def write_photos(folder: Path) -> None:
    """Write 40 pictures with a white square each."""
    folder.mkdir()
    for number in range(1, 41):
        pixels = np.random.default_rng(number).integers(0, 60, (SIZE, SIZE, 3)).astype(np.uint8)
        x, y = corner(number)
        pixels[y : y + SQUARE, x : x + SQUARE] = 255
        Image.fromarray(pixels).save(folder / f"p{number}.png")


def truth(names: set[str]) -> dict[str, list[tuple[float, float, float, float, str]]]:
    """Return the square of each picture by the stem of its file."""
    return {name: [(*map(float, corner(int(name[1:]))), SQUARE, SQUARE, "square")] for name in names}


def run(folder: Path, *words: str | Path, fails: int = 0) -> str:
    """Run a command of `mgral` in a folder, and return what it says."""
    done = subprocess.run(
        [MGRAL, *words],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        env=environment(folder),
    )
    assert done.returncode == fails, done.stdout
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    """Return variables for a command of a project."""
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "OMP_NUM_THREADS": "1",
        "MGRAL_CHECKPOINT_SECONDS": "0",
    }
