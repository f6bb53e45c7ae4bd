"""Label Studio's server."""

from pathlib import Path

from mgral.labelling.servers.interface import Pictures, Pulled, Pushed, Share
from mgral.labelling.state import Project


class LabelStudio:
    """A Label Studio, through its REST interface."""

    @classmethod
    def from_environment(cls, url: str) -> "LabelStudio":
        """Return the server at a URL, with the token in LABEL_STUDIO_API_KEY."""
        raise NotImplementedError

    def push(self, share: Share, known: str | None, pictures: Pictures | None) -> Pushed:
        """Send what the server has not yet."""
        raise NotImplementedError

    def pull(self, known: str, project: Project, rounds: frozenset[int], output: Path) -> Pulled:
        """Save all that the server has of a project."""
        raise NotImplementedError
