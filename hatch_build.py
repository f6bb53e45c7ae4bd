"""Puts the commit that a wheel is built of into it."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]
    """Writes the file that `mgral.artefacts.commit` reads of an installed wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file; nothing where Git does not know the folder, or the code stays where it is."""
        command = ["git", "-C", self.root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            found = subprocess.run(command, text=True, capture_output=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return
        if version != "editable":
            self.folder = TemporaryDirectory()
            path = Path(self.folder.name) / "commit.txt"
            path.write_text(found)
            build_data["force_include"][str(path)] = "mgral/artefacts/commit.txt"
