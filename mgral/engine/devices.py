"""Where the jobs of a run compute: on the cards of this machine, or on the processor, and why."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mgral.compute.gpus import DEVICE_VARIABLE, Card, find_cards, only_cpu
from mgral.errors import InputError


@dataclass(frozen=True)
class Devices:
    """The cards that jobs are given by themselves, without a profile."""

    cards: tuple[Card, ...]
    why: str
    """Why there are none."""

    @classmethod
    def here(cls, refused: str = "") -> "Devices":
        """Return those that this machine has for us; none where a reason not to use any is given."""
        if refused or only_cpu():
            return cls((), refused or f"{DEVICE_VARIABLE}=cpu")
        try:
            return cls(tuple(find_cards()), "")
        except InputError as error:
            return cls((), str(error).partition(";")[0])

    @property
    def memory_mb(self) -> int:
        """MiB of all cards, which bound the jobs that Snakemake runs at once."""
        return sum(card.memory_mb for card in self.cards)

    @property
    def largest_mb(self) -> int:
        """MiB of the largest card; 0 without one."""
        return max((card.memory_mb for card in self.cards), default=0)

    def gpus(self, memory_mb: int) -> int:
        """Return how many GPUs a job gets that takes so much of a card: one where it fits, or else none."""
        return int(0 < memory_mb <= self.largest_mb)

    def share(self, memory_mb: int) -> int:
        """Return the resource vram_mb of a job: what it takes, or 0 where there are cards and it fits on none."""
        return memory_mb if memory_mb <= self.largest_mb or not self.cards else 0

    def line(self, training_mb: int, left_out: Mapping[str, int]) -> str:
        """Return what the console says before the first job.

        Parameters
        ----------
        training_mb
            What a training of the detector takes of a card.
        left_out
            The same of the steps that could use a card, and fit on none.
        """
        if not self.cards:
            return f"Computing on the CPU: {self.why}"
        kinds = Counter((card.model, card.memory_mb) for card in self.cards)
        models = ", ".join(f"{count} x {model} of {_gigabytes(size)}" for (model, size), count in kinds.items())
        trainings = sum(card.memory_mb // training_mb for card in self.cards)
        room = f", room for {trainings} training{'s' * (trainings > 1)} at once" if trainings else ""
        steps = ", ".join(f"{step} ({_gigabytes(memory_mb)})" for step, memory_mb in sorted(left_out.items()))
        on_cpu = f". On the CPU, as they take more memory than a GPU has: {steps}" if steps else ""
        advice = f"To use only the CPU: {DEVICE_VARIABLE}=cpu, or --cpu of `mgral snakemake`"
        return f"Computing on GPUs: {models}{room}{on_cpu}. {advice}"


def _gigabytes(mebibytes: int) -> str:
    return f"{mebibytes * 2**20 / 1e9:.1f} GB"
