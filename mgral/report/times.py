"""Times and memory of an experiment's jobs, from the records of their outputs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from mgral.config import Config, SharedArtefact, registry

# The stages of the paper's cost table, and the steps of this pipeline that belong to each.
STAGES = {
    "lut": ("embed", "pseudo_labels", "subsets", "base", "variant", "table"),
    "training": ("detector", "external", "head", "agent"),
    "selection": ("select",),
}


@dataclass(frozen=True)
class TimedJob:
    """One run of a step, without the start of Python."""

    step: str
    wildcards: Mapping[str, str]
    wall: float
    """Seconds."""
    core: float
    """Processor seconds of all threads and processes."""
    memory: float
    """Peak resident memory in MB, of the process that had most."""

    @property
    def seed_and_cycle(self) -> tuple[str | None, str | None]:
        """Seed and cycle."""
        return self.wildcards.get("seed"), self.wildcards.get("cycle")

    def serves(self, strategy: str) -> bool:
        """Return whether it is of a strategy itself, or of the cycle 0 that all share."""
        own_rounds = ("initial", f"strategies/{strategy}")
        return self.wildcards.get("strategy") == strategy or self.wildcards.get("round") in own_rounds


@dataclass(frozen=True)
class StepCost:
    """All jobs of a step together."""

    step: str
    jobs: int
    wall: float
    core: float
    memory: float


@dataclass(frozen=True)
class CycleCost:
    """A strategy's line of the cost table, in wall seconds of jobs one after the other; None without a job."""

    strategy: str
    lut: float | None
    """The lookup tables of all reward splits together, mean over the cycles that have some."""
    training: float | None
    """Training of one cycle, mean over seeds and cycles: the detector, and an agent or a head where there is one."""
    selection: float | None
    """Mean over seeds and cycles: the choice and, where it is made from embeddings, those."""


def step_costs(jobs: list[TimedJob], order: Iterable[str]) -> list[StepCost]:
    """Add the jobs of each step up, in the pipeline's order."""
    jobs_by_step: dict[str, list[TimedJob]] = defaultdict(list)
    for job in jobs:
        jobs_by_step[job.step].append(job)
    ordered = [step for step in order if step in jobs_by_step]
    return [_add_up(step, jobs_by_step[step]) for step in [*ordered, *sorted(set(jobs_by_step) - set(ordered))]]


def _add_up(step: str, jobs: list[TimedJob]) -> StepCost:
    wall, core = (round(sum(times), 3) for times in ((job.wall for job in jobs), (job.core for job in jobs)))
    return StepCost(step, len(jobs), wall, core, max(job.memory for job in jobs))


def cycle_costs(jobs: list[TimedJob], config: Config) -> list[CycleCost]:
    """Add up each strategy's jobs a cycle, and average over seeds and cycles."""
    return [
        CycleCost(
            strategy,
            lut=_lut_cost(jobs, config, strategy) if strategy in config.with_tables else None,
            training=_mean_of_sums(_training_jobs(jobs, strategy, config.strategies[strategy].type)),
            selection=_mean_of_sums(_selection_jobs(jobs, config, strategy)),
        )
        for strategy in config.strategies
    ]


def _lut_cost(jobs: list[TimedJob], config: Config, strategy: str) -> float | None:
    """Return the seconds of a strategy's tables, which others may share, and of the embeddings behind them."""
    names = {kind: config.name_of(kind, strategy) for kind in get_args(SharedArtefact)}
    own_jobs = [
        job
        for job in jobs
        if job.step in STAGES["lut"]
        and job.serves(strategy)
        and all(job.wildcards.get(kind, name) == name for kind, name in names.items())
    ]
    seeds_and_cycles = {job.seed_and_cycle for job in own_jobs if job.step != "embed"}
    return _mean_of_sums([job for job in own_jobs if job.seed_and_cycle in seeds_and_cycles])


def _training_jobs(jobs: list[TimedJob], strategy: str, kind: str) -> list[TimedJob]:
    """Return the training jobs of a strategy; if it has agents or heads, those of the cycles that have one.

    The detector of the last cycle serves no agent and no head, and would lower the mean.
    """
    own_jobs = [
        job
        for job in jobs
        if job.step in STAGES["training"] and job.serves(strategy) and job.wildcards.get("type", kind) == kind
    ]
    seeds_and_cycles = {job.seed_and_cycle for job in own_jobs if job.step in ("agent", "head")}
    return [job for job in own_jobs if not seeds_and_cycles or job.seed_and_cycle in seeds_and_cycles]


def _selection_jobs(jobs: list[TimedJob], config: Config, strategy: str) -> list[TimedJob]:
    """Return the jobs of a strategy's choices and of the embeddings for them; those for tables count there."""
    steps = [*STAGES["selection"]]
    if (
        strategy not in config.with_tables
        and "embeddings" in registry.strategy(config.strategies[strategy].type).files
    ):
        steps.append("embed")
    own_jobs = [job for job in jobs if job.step in steps and job.serves(strategy)]
    seeds_and_cycles = {job.seed_and_cycle for job in own_jobs if job.step in STAGES["selection"]}
    return [job for job in own_jobs if job.seed_and_cycle in seeds_and_cycles]


def _mean_of_sums(jobs: list[TimedJob]) -> float | None:
    """Return the seconds of a seed and cycle, all its jobs together, in the mean; None without a job."""
    sums: dict[tuple[str | None, str | None], float] = defaultdict(float)
    for job in jobs:
        sums[job.seed_and_cycle] += job.wall
    return sum(sums.values()) / len(sums) if sums else None


def step_rows(costs: list[StepCost]) -> list[dict[str, object]]:
    """Return the lines of costs_by_step.csv; seconds and MB."""
    return [
        {"step": c.step, "jobs": c.jobs, "wall_s": c.wall, "core_s": c.core, "peak_memory_mb": c.memory}
        for c in costs
    ]


def cycle_rows(costs: list[CycleCost]) -> list[dict[str, object]]:
    """Return the lines of costs_by_cycle.csv; seconds."""
    return [
        {"strategy": c.strategy, "lut_s": c.lut, "training_s": c.training, "selection_s": c.selection} for c in costs
    ]


def duration(seconds: float | None) -> str:
    """Write seconds as a person reads them, or an en dash for None."""
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{seconds / 60:.1f} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
