"""What a server of a labelling tool must be able to do, and what passes between it and the project."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from mgral.labelling.exchange.reading import Empty
from mgral.labelling.records import CONFIRMED
from mgral.labelling.state import Project

Tool = Literal["label_studio", "cvat"]
"""A labelling tool, by the name of its folder in `tasks/`."""
Pictures = Literal["serve", "upload"]
"""How pictures get to a server: it reads them from the disk, or they are sent to it."""


@dataclass(frozen=True)
class Share:
    """Tasks that `mgral project next` or `again` wrote: all of a batch, or one person's share."""

    folder: Path
    """Holds pictures/ and tasks/TOOL/."""
    round: int
    """0 for pictures to check again."""
    person: str
    """`person1` and so on; empty where the batch is not split."""
    title: str
    """Name of the project, for people."""
    project: Project
    """As it is now: its classes may be others than those that the tasks were written with."""

    def wants(self, image: int) -> bool:
        """Return whether a picture is to be sent: not if it was withdrawn, or labelled in another way meanwhile.

        Labelled pictures are sent all the same in a split batch, where two people may get one, and for another check.
        """
        state = self.project.images[image].state
        return state != "withdrawn" and (state not in CONFIRMED or bool(self.person) or not self.round)


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    id: str
    """The server's own number of its project."""
    sent: int
    """Pictures that were sent."""
    already_there: int
    """Pictures of the share that were there already."""
    lines: tuple[str, ...]
    """What a person should know besides: where to find it, what was odd."""


@dataclass(frozen=True)
class Pulled:
    """What a pull saved."""

    files: tuple[Path, ...]
    """Whole exports, which `read_labels` reads."""
    empty: Empty
    """What is known of pictures without boxes in them, see `read_labels`."""
    lines: tuple[str, ...]
    """What a person should know, such as tasks that were left out."""
    pictures: frozenset[tuple[int, int]] | None = None
    """Round and number of each picture that the server has; None where it cannot tell."""


class Server(Protocol):
    """A server of a labelling tool, and somebody's right to use it.

    Everything it does raises InputError where a person has to change something (a refused token, a project that is
    gone or was changed), and StepError where the same command may do later (a server that does not answer). No
    message contains the token.
    """

    def push(self, share: Share, known: str | None, pictures: Pictures | None) -> Pushed:
        """Send what the server has not yet, best first; a push that was interrupted goes on.

        Parameters
        ----------
        known
            The server's number of its project, as the ledger has it; None to find it there by the project's
            identity (and the person), or to make it.
        pictures
            None: served where the server can, else uploaded.
        """

    def pull(self, known: str, project: Project, output: Path) -> Pulled:
        """Save all that the server has of a project into a folder that is there, each file completely or not at all.

        Parameters
        ----------
        known
            The server's number of its project.
        project
            Whose tasks are taken; others are left out, and counted.
        """
