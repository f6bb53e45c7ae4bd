"""The learning curves of the agents, beside as many random batches."""

from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mgral.method.lut.regression import ERROR_RATE
from mgral.report.detectors import ROUND
from mgral.report.drawing import FAINT, Figure, Table, draw, percent_tick
from mgral.report.results import EPISODE, Results
from mgral.report.spread import Spread, points, points_with_spread
from mgral.report.styles import strategy_styles

_SHOWN = 6
"""Figures of all agents together, if there are no more agents than that; else one each."""


def agent_figures(results: Results) -> list[Figure]:
    """Draw the learning curves of at most six cycles, from the first to the last; of several agents, fewer each."""
    config = results.config
    if not config.agents:
        return []
    cycle_count = max(1, _SHOWN // len(config.agents))
    cycles = [int(cycle) for cycle in np.unique(np.linspace(0, config.cycles - 1, cycle_count).round())]
    runs = dict(list(results.episodes.groupby(["strategy", "cycle"])))
    shown_runs = {key: runs[key] for key in product(config.agents, cycles) if key in runs}
    table = Table("agent_episodes", pd.concat(shown_runs.values())[[*ROUND, *EPISODE]]) if shown_runs else None
    return [_figure(results, *key, episodes, table) for key, episodes in shown_runs.items() if table]


def _figure(results: Results, strategy: str, cycle: int, episodes: pd.DataFrame, table: Table) -> Figure:
    agents = _agents(results, strategy, cycle)
    stem = f"agent_{strategy}_cycle{cycle}"
    colour = strategy_styles(results.config)[strategy].colour
    mean = episodes.groupby("episode")[list(EPISODE[1:])].mean()
    window = max(1, len(mean) // 20)
    # The first have fewer before them.
    running_mean = mean.rolling(window, min_periods=1).mean()
    agent_config = results.config.for_strategy(strategy).agent
    image_limit = f", with batches of at most {agent_config.horizon} images" if agent_config.policy == "batch" else ""

    def paint(axes: Axes) -> None:
        for _, seed_episodes in episodes.groupby("seed", sort=False) if len(agents) > 1 else ():
            axes.plot(seed_episodes["episode"], seed_episodes["reward"], color=colour, alpha=0.18, linewidth=0.8)
        axes.plot(running_mean["random_reward"], color=FAINT, label="random, mean")
        axes.plot(mean["random_best"], color=FAINT, linestyle=":", label="random, best so far")
        axes.plot(running_mean["reward"], color=colour, linewidth=2.4, label="agent, mean")
        axes.plot(mean["best"], color=colour, linestyle=":", label="agent, best so far")
        axes.set(xlabel="episode", ylabel="looked-up mAP (%)")
        axes.yaxis.set_major_formatter(percent_tick)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.24), ncols=3, columnspacing=1.0, handlelength=1.5)

    selected, best = Spread.of(agents["selected_reward"]), Spread.of(agents["random_best_as_often"])
    above = Spread.of(agents["standard_deviations_above"])
    caption = (
        f"The agent's batch has a looked-up mAP of {points_with_spread(selected)} %, {_signed(above)} "
        f"standard deviations from the mean of {agents['random_batches'].iloc[0]:.0f} random batches; the best of as "
        f"many random batches as the agent looked up is {points_with_spread(best)} %. "
        f"The curves show the episodes of training{image_limit}. "
        f"Bold: mean over {len(agents)} seed{'s' * (len(agents) > 1)}"
        + (f", running mean of {window} episodes." if window > 1 else ".")
    )
    title = f"Cycle {cycle}" if len(results.config.agents) == 1 else f"{strategy}, cycle {cycle}"
    gain = float((agents["selected_reward"] - agents["random_best_as_often"]).mean())
    kind = "higher" if gain > 0 else "no higher"
    conclusion = (
        f"The looked-up mAP of the agent’s batch is {kind} than that of the best of as many random batches: "
        f"{points(gain, 2, sign=True)} points in the mean."
    )
    return Figure(stem, title, conclusion, caption, draw(stem, 5.0, 3.7, paint), table)


def _agents(results: Results, strategy: str, cycle: int) -> pd.DataFrame:
    """Return the agents of the seeds that have one."""
    agents = results.agents
    return agents[(agents["strategy"] == strategy) & (agents["cycle"] == cycle)]


def _signed(spread: Spread) -> str:
    mean = f"{spread.mean:+.1f}".replace("-", "−")
    return mean if np.isnan(spread.std) else f"{mean} ± {spread.std:.1f}"


def agent_lines(results: Results) -> list[dict[str, str]]:
    """Return a line for each strategy with an agent and each cycle, means over seeds, as text for the page."""
    cycles = product(results.config.agents, range(results.config.cycles))
    return [
        _line(strategy, cycle, _agents(results, strategy, cycle), len(results.config.seeds))
        for strategy, cycle in cycles
    ]


def _line(strategy: str, cycle: int, agents: pd.DataFrame, seeds: int) -> dict[str, str]:
    # NaN without a test, as of a single table, which has none to be compared with.
    tested = agents["p_value"].notna().any()
    return {
        "strategy": strategy,
        "cycle": str(cycle),
        "selected": points_with_spread(Spread.of(agents["selected_reward"])),
        "greedy": points_with_spread(Spread.of(agents["greedy_reward"]))
        if agents["greedy_reward"].notna().any()
        else "–",
        "random": points_with_spread(Spread.of(agents["random_mean"])),
        "above": _signed(Spread.of(agents["standard_deviations_above"])),
        "best": points_with_spread(Spread.of(agents["random_best_as_often"])),
        "better": f"{(agents['selected_reward'] > agents['random_best_as_often']).sum()} of {seeds}",
        "held_out": points_with_spread(Spread.of(agents["held_out_gain"]), sign=True),
        "p_value": f"{agents['p_value'].median():.3f}" if tested else "–",
        "validated": f"{(~(agents['p_value'] > ERROR_RATE)).sum()} of {seeds}" if tested or agents.empty else "–",
    }
