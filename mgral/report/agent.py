"""The learning curves of the agents, beside as many random batches."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from mgral.report.drawing import FAINT, INK, Figure, Table, draw
from mgral.report.results import AgentRun, Array, Results
from mgral.report.spread import Spread, points_with_spread
from mgral.report.styles import strategy_styles

_SHOWN = 6
"""Figures of all agents together, if there are no more agents than that; else one each."""
_COLUMNS = ("reward", "best", "random_reward", "random_best")


def agent_figures(results: Results) -> list[Figure]:
    """Draw the learning curves of at most six cycles, from the first to the last; of several agents, fewer each."""
    config = results.config
    if not config.agents:
        return []
    shown = max(1, _SHOWN // len(config.agents))
    cycles = [int(cycle) for cycle in np.unique(np.linspace(0, config.cycles - 1, shown).round())]
    trained = {(strategy, cycle) for _, strategy, cycle in results.agents}
    drawn = [of_cycle for of_cycle in product(config.agents, cycles) if of_cycle in trained]
    table = _table(results, drawn)
    return [_figure(results, strategy, cycle, table) for strategy, cycle in drawn]


def _figure(results: Results, strategy: str, cycle: int, table: Table) -> Figure:
    runs = _runs(results, strategy, cycle)
    stem = f"agent_{strategy}_cycle{cycle}"
    colour = strategy_styles(results.config)[strategy].colour
    # Seeds share the number of episodes, a setting; an aborted run would have left no file.
    episodes = runs[0].curve["episode"]
    window = max(1, len(episodes) // 20)
    mean = {name: np.mean([run.curve[name] for run in runs], axis=0) for name in _COLUMNS}
    selected = [run.summary["selected_reward"] for run in runs]

    def paint(axes: Axes) -> None:
        for run in runs if len(runs) > 1 else ():
            axes.plot(episodes, run.curve["reward"], color=colour, alpha=0.18, linewidth=0.8)
        axes.plot(episodes, _running_mean(mean["random_reward"], window), color=FAINT, label="random, mean")
        axes.plot(episodes, mean["random_best"], color=FAINT, linestyle=":", label="random, best so far")
        axes.plot(episodes, _running_mean(mean["reward"], window), color=colour, linewidth=2.4, label="agent, mean")
        axes.plot(episodes, mean["best"], color=colour, linestyle=":", label="agent, best so far")
        end = episodes[-1] + 0.03 * len(episodes)
        axes.plot(
            [end],
            [np.mean(selected)],
            "*",
            color=INK,
            markersize=11,
            label="agent's choice",
            clip_on=False,
            zorder=5,
        )
        axes.set(xlabel="episode", ylabel="looked-up mAP (%)")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}"))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.24), ncols=3, columnspacing=1.0, handlelength=1.5)

    above = Spread.of([run.summary["standard_deviations_above"] for run in runs])
    best = Spread.of([run.summary["random_best_as_often"] for run in runs])
    caption = (
        f"The agent's choice looks up to {points_with_spread(Spread.of(selected))} %, {_signed(above)} standard "
        f"deviations from the mean of {runs[0].summary['random_batches']:.0f} random batches; the best of as many "
        f"random batches as the agent looked up is {points_with_spread(best)} %. "
        f"Bold: mean over {len(runs)} seed{'s' * (len(runs) > 1)}"
        + (f", running mean of {window} episodes." if window > 1 else ".")
    )
    title = f"Cycle {cycle}" if len(results.config.agents) == 1 else f"{strategy}, cycle {cycle}"
    return Figure(stem, title, caption, draw(stem, 5.0, 3.7, paint), table)


def _runs(results: Results, strategy: str, cycle: int) -> list[AgentRun]:
    """Return the agents of the seeds that have one."""
    found = (results.agents.get((seed, strategy, cycle)) for seed in results.config.seeds)
    return [run for run in found if run]


def _running_mean(values: Array, window: int) -> Array:
    """Average each value with the ones before it; the first have fewer before them."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    means: Array = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _signed(spread: Spread) -> str:
    mean = f"{spread.mean:+.1f}".replace("-", "−")
    return mean if np.isnan(spread.std) else f"{mean} ± {spread.std:.1f}"


def _table(results: Results, drawn: Sequence[tuple[str, int]]) -> Table:
    rows = tuple(
        {
            "strategy": strategy,
            "cycle": cycle,
            "seed": seed,
            "episode": int(run.curve["episode"][index]),
            **{name: float(run.curve[name][index]) for name in _COLUMNS},
        }
        for strategy, cycle in drawn
        for seed in results.config.seeds
        for run in (results.agents.get((seed, strategy, cycle)),)
        if run
        for index in range(len(run.curve["episode"]))
    )
    return Table("agent_episodes", ("strategy", "cycle", "seed", "episode", *_COLUMNS), rows)


def agent_table(results: Results) -> Table:
    """Return the summary of each agent as it was written, scores between 0 and 1."""
    columns = tuple(next(iter(results.agents.values())).summary)
    rows = tuple(
        {"strategy": strategy, "cycle": cycle, "seed": seed, **{name: run.summary[name] for name in columns}}
        for (seed, strategy, cycle), run in results.agents.items()
    )
    return Table("agents", ("strategy", "cycle", "seed", *columns), rows)


def agent_lines(results: Results) -> list[dict[str, str]]:
    """Return a line for each strategy with an agent and each cycle, means over seeds, as text for the page."""
    return [
        _line(strategy, cycle, [run.summary for run in _runs(results, strategy, cycle)], len(results.config.seeds))
        for strategy, cycle in product(results.config.agents, range(results.config.cycles))
    ]


def _line(strategy: str, cycle: int, runs: list[dict[str, float]], seeds: int) -> dict[str, str]:
    def over_seeds(name: str) -> Spread:
        return Spread.of([run[name] for run in runs])

    def count(holds: Callable[[dict[str, float]], bool]) -> str:
        return f"{sum(map(holds, runs))} of {seeds}"

    return {
        "strategy": strategy,
        "cycle": str(cycle),
        "selected": points_with_spread(over_seeds("selected_reward")),
        "random": points_with_spread(over_seeds("random_mean")),
        "above": _signed(over_seeds("standard_deviations_above")),
        "best": points_with_spread(over_seeds("random_best_as_often")),
        "better": count(lambda run: run["selected_reward"] > run["random_best_as_often"]),
        "held_out": points_with_spread(over_seeds("held_out_gain"), sign=True),
        # Not a number where there is a single table, and so none to validate the agent on.
        "validated": count(lambda run: not run["held_out_gain"] <= 0),
    }
