"""Benchmark `agents`: what agents' batches gain, and how long agents train, as a page.

Agents are trained on the lookup tables of experiments that have run, and compared with the greedy choice on the same
tables. No test image is read, and no detector is trained.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt

from benchmarks.features import run_commands
from mgral.config import AgentConfig, Config, images_in, load_config
from mgral.data.dataset import load_dataset
from mgral.errors import InputError
from mgral.method.agent.batch_agent import choose_batch
from mgral.method.agent.batch_training import train_batch_agent
from mgral.method.agent.episodes import uniform_batches
from mgral.method.greedy import choose_greedily
from mgral.method.lut.learned import LearnedReward
from mgral.method.lut.reward import load_tables
from mgral.report.results_page import markdown_table
from mgral.selection.embeddings import load_embeddings
from mgral.selection.object_counts import count_again
from mgral.selection.pool import load_labelled, unlabelled
from mgral.selection.spending import in_images, load_unspent

REPEATS = 3
"""Agents trained for each seed, which differ in their random numbers."""
RANDOM_BATCHES = 500
AGENTS = {
    "**the default**": AgentConfig(),
    "training by whole batches": AgentConfig(horizon=64),
    "80 episodes of whole batches, learning rate 0.01 (at the comparison)": AgentConfig(
        episodes=80, learning_rate=0.01, horizon=64
    ),
    "a quarter of the episodes": AgentConfig(episodes=12),
}
INTRODUCTION = """# Agents on the lookup tables

What the batch of `mgral`'s agent gains in the learned reward, relative to the greedy batch of the same tables: 0 % is
the mean of random batches, 100 % the greedy batch. Mean and lowest of {agents} agents for each set, and the part of
their images that the greedy batch has too. Processor time is that of a training, relative to the first line. An agent
without training is the greedy choice, so fewer episodes come closer to it; whether an agent learns what a greedy
choice cannot find, `tests/method/test_batch_agent.py` tests. Written by

    python -m benchmarks agents {folders} --output {output}

after, for each set (the seeds are tuning seeds, apart from those of any comparison),

{commands}

"""


class Trained(NamedTuple):
    """What one agent's batch is worth, and how long it trained."""

    relative_gain: float
    """Gain over random batches, relative to that of the greedy batch."""
    shared: float
    """Part of its images that are in the greedy batch too."""
    seconds: float
    """Processor seconds of the training."""


class Problem(NamedTuple):
    """A pool, and the reward that is learned from the tables of one seed."""

    vectors: npt.NDArray[np.float32]
    reward: LearnedReward
    budget: int

    def train(self, config: AgentConfig, seed: int) -> Trained:
        """Train an agent, and compare its batch with the greedy one."""
        start = process_time()
        agent, _ = train_batch_agent(self.vectors, self.reward, config, self.budget, seed, 0)
        seconds = process_time() - start
        chosen = choose_batch(agent, self.reward, self.vectors, self.budget, seed, 0).rows
        rng = np.random.default_rng(seed)
        greedy = choose_greedily(self.reward, len(self.vectors), self.budget, rng).rows
        random = self.reward.lookup(uniform_batches(len(self.vectors), self.budget, RANDOM_BATCHES, rng)).mean()
        gain, greedy_gain = self.reward.lookup(np.stack([chosen, greedy])) - random
        return Trained(float(gain / greedy_gain), len(np.intersect1d(chosen, greedy)) / self.budget, seconds)


@click.command("agents")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Page to write.")
def command(folders: Sequence[Path], output: Path) -> None:
    """Write a page of agents trained on the tables in folders of experiments."""
    if not output.parent.is_dir():
        raise InputError(f"there is no folder {output.parent} for the page; make it first")
    problems = [list(_problems(folder)) for folder in folders]
    problems[0][0].train(AgentConfig(episodes=1), 0)  # what a process does for the first time takes longer
    trained = {
        name: [[problem.train(config, seed) for problem in of_set for seed in range(REPEATS)] for of_set in problems]
        for name, config in AGENTS.items()
    }
    header = ["agent", *(f"{folder.name}: {what}" for folder in folders for what in ("gain", "shared")), "time"]
    seconds = {name: sum(one.seconds for of_set in sets for one in of_set) for name, sets in trained.items()}
    unit = next(iter(seconds.values()))
    rows = [
        [name, *(cell for of_set in sets for cell in _cells(of_set)), f"{seconds[name] / unit:.1f}"]
        for name, sets in trained.items()
    ]
    text = INTRODUCTION.format(
        agents=REPEATS * len(problems[0]),
        folders=" ".join(map(str, folders)),
        output=output,
        commands=run_commands(folders),
    )
    output.write_text(text + markdown_table(header, rows) + "\n", encoding="utf-8")


def _cells(trained: Sequence[Trained]) -> tuple[str, str]:
    gains = [one.relative_gain for one in trained]
    shared = np.mean([one.shared for one in trained])
    return f"{100 * np.mean(gains):.1f} % ({100 * min(gains):.1f})", f"{100 * shared:.0f} %"


def _problems(folder: Path) -> Iterator[Problem]:
    config, data = load_config(folder / "config.yaml"), load_dataset(folder / "dataset/train.json")
    for seed in config.seeds:
        start = folder / f"seed{seed}/initial/cycle0"
        labelled = load_labelled(start / "labelled.json")
        in_pictures: Config = in_images(config, data, labelled, load_unspent(start / "labelled.json"))
        embeddings = count_again(load_embeddings(start / "embeddings/default.safetensors"), data, labelled, seed)
        splits = range(config.lut.splits)
        paths = [start / f"tables/default/split{split}/default/table.safetensors" for split in splits]
        pool = unlabelled(data.image_ids, labelled)
        reward = load_tables(paths, embeddings, in_pictures).over(pool, "cpu")
        if not isinstance(reward, LearnedReward):
            raise InputError(f"{folder}: agents are compared on learned rewards, and its reward is another")
        yield Problem(embeddings.features_of(pool, config.embedding).vectors, reward, images_in(in_pictures.budget))
