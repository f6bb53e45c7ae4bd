"""What `snakemake fidelity` has measured and looked up, and how well the two agree."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_csv, read_json
from mgral.config import Config
from mgral.errors import InputError, StepError
from mgral.method.fidelity.batches import Candidate, load_candidates
from mgral.method.fidelity.correlation import Array, Fidelity, difference, fidelity, noise_ceiling
from mgral.method.fidelity.lookups import LookupKind

PARTS = {"all": "all", "random": "drawn at random", "strategies": "chosen by strategies"}
"""Which batches correlations are over, in words."""


@dataclass(frozen=True)
class Trial:
    """A seed's candidate batches: true mAP on the test images, and the prediction of each kind of reward."""

    baseline: float
    """Mean mAP without any batch."""
    repeats: Array
    """mAP, [R, M]."""
    tables: Mapping[LookupKind, Array]
    """The prediction by the tables of the first n reward splits, [splits, M]; without a table [1, M]."""
    candidates: Sequence[Candidate]
    """The M batches."""
    by_prior: frozenset[LookupKind] = frozenset()
    """Kinds whose tables did not pass their test, so that the prior of the regression ranks batches."""

    @property
    def gains(self) -> Array:
        """Mean gain in mAP over the repeats, [M]."""
        mean: Array = self.repeats.mean(axis=0) - self.baseline
        return mean

    def looked_up(self, kind: LookupKind) -> Array:
        """Return the prediction by all tables of a kind, [M]: mAP, or without a table on a scale of its own."""
        prediction: Array = self.tables[kind][-1]
        return prediction

    def of_part(self, part: str) -> npt.NDArray[np.bool_]:
        """Return which batches are of a part, [M], one of `PARTS`."""
        drawn = np.array([candidate.drawn for candidate in self.candidates])
        return {"all": np.ones_like(drawn), "random": drawn, "strategies": ~drawn}[part]


@dataclass(frozen=True)
class FidelityRow:
    """A kind of reward and how well it does."""

    kind: LookupKind
    by_part: Mapping[str, Fidelity]
    """For each of `PARTS`."""
    configured: bool
    """Whether the settings are the experiment's own."""

    @property
    def fidelity(self) -> Fidelity:
        """That over all batches."""
        return self.by_part["all"]


@dataclass(frozen=True)
class CountsComparison:
    """The reward in use beside counts alone, over a part of the batches."""

    reward: Fidelity
    counts: Fidelity
    difference: Fidelity
    ceiling: float

    @property
    def reached(self) -> float | None:
        """The part of the noise ceiling that the reward in use reaches; None where the ceiling is 0."""
        return self.reward.mean / self.ceiling if self.ceiling else None


def load_trials(results: Path, config: Config) -> dict[int, Trial]:
    """Read the trials of an experiment by seed; raises InputError as `load_trial` does."""
    folders = {seed: results / f"seed{seed}" / "fidelity" / f"cycle{config.fidelity.cycle}" for seed in config.seeds}
    return {seed: load_trial(folder, config) for seed, folder in folders.items()}


def load_trial(folder: Path, config: Config) -> Trial:
    """Read a seed's `candidates.json`, the gains of its jobs and the `TABLE/lookups.csv` of its tables.

    Files of other settings may lie beside them.

    Raises
    ------
    InputError
        Where they do not fit together.
    """
    by_batch: dict[int, list[float]] = {}
    splits = config.lut.splits
    for path in (folder / f"gains{first}-{last}.json" for first, last in config.gain_jobs):
        try:
            by_batch |= {gain["batch"]: gain["map"] for gain in read_json(path)["gains"]}
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} does not contain gains ({error}); run the step `gain` again") from None
    candidates = load_candidates(folder / "candidates.json")[1:]
    batches = [candidate.batch for candidate in candidates]
    if sorted(by_batch) != [0, *batches]:
        raise InputError(
            f"{folder} does not contain the gains of batches 0 to {len(batches)}; run `snakemake fidelity` again"
        )
    looked_up: dict[LookupKind, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    by_prior = set()
    for table in config.fidelity_tables():
        for row in read_csv(folder / table / "lookups.csv"):
            kind = LookupKind(*(row[name] for name in LookupKind._fields))
            # What is expected without a table stands beside every table.
            looked_up[kind][int(row["splits"])][int(row["batch"])] = float(row["looked_up"])
            if int(row["splits"]) == splits and row["by_prior"] == "True":
                by_prior.add(kind)
    for kind, by_splits in looked_up.items():
        expected = range(1, splits + 1) if kind.has_table else range(1)
        if sorted(by_splits) != list(expected) or any(sorted(lookups) != batches for lookups in by_splits.values()):
            raise InputError(
                f"{folder}: lookups are not of batches 1 to {len(batches)} in {splits} tables; "
                "run `snakemake fidelity` again"
            )
    return Trial(
        baseline=float(np.mean(by_batch[0])),
        repeats=np.array([by_batch[batch] for batch in batches]).T,
        tables={
            kind: np.array([[by_splits[count][batch] for batch in batches] for count in sorted(by_splits)])
            for kind, by_splits in looked_up.items()
        },
        candidates=candidates,
        by_prior=frozenset(by_prior),
    )


def configured_kind(config: Config) -> LookupKind:
    """Return the kind of lookup of the experiment's own settings."""
    lut, reward = config.lut, config.reward
    embedding = "initial" if lut.refresh == "once" else "cycle"
    return LookupKind(lut.labels, lut.start, embedding, reward.distance, reward.estimator)


def fidelity_rows(trials: Sequence[Trial], configured: LookupKind, seed: int) -> list[FidelityRow]:
    """Return every kind of reward that all seeds have, the best over all batches first."""
    kinds = [kind for kind in trials[0].tables if all(kind in trial.tables for trial in trials)]
    rows = [
        FidelityRow(
            kind,
            {part: fidelity(_looked_up(trials, kind, part), _gains(trials, part), seed) for part in PARTS},
            kind == configured,
        )
        for kind in kinds
    ]
    return sorted(rows, key=lambda row: -row.fidelity.mean)


def ceilings_by_seed(trials: Mapping[int, Trial]) -> dict[str, dict[int, float]]:
    """Return the noise ceiling for each of `PARTS` by seed."""
    return {
        part: {seed: noise_ceiling(trial.repeats[:, trial.of_part(part)]) for seed, trial in trials.items()}
        for part in PARTS
    }


def compare_with_counts(
    rows: Sequence[FidelityRow], trials: Sequence[Trial], ceilings: Mapping[str, float], seed: int
) -> dict[str, CountsComparison]:
    """Compare the reward in use with counts alone for each of `PARTS`.

    Counts alone are the best reward without a table, over all batches: the hardest to beat.
    """
    used_row = next((row for row in rows if row.configured), None)
    if used_row is None:
        raise StepError(
            "the lookup tables in use could not be made, so nothing can be compared; logs/lookup/ says why"
        )
    counts_row = next(row for row in rows if not row.kind.has_table)
    return {
        part: CountsComparison(
            used_row.by_part[part],
            counts_row.by_part[part],
            difference(
                _looked_up(trials, used_row.kind, part),
                _looked_up(trials, counts_row.kind, part),
                _gains(trials, part),
                seed,
            ),
            ceilings[part],
        )
        for part in PARTS
    }


def _looked_up(trials: Sequence[Trial], kind: LookupKind, part: str) -> list[Array]:
    return [trial.looked_up(kind)[trial.of_part(part)] for trial in trials]


def _gains(trials: Sequence[Trial], part: str) -> list[Array]:
    return [trial.gains[trial.of_part(part)] for trial in trials]
