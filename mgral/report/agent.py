"""The agent's learning curve beside random batches that were looked up as often."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from mgral.report.drawing import FAINT, INK, Figure, Table, draw
from mgral.report.rendering import STRATEGY_COLOURS
from mgral.report.results import AgentRun, Array, Results
from mgral.report.spread import Spread, points_with_spread

_SHOWN = 6
_COLUMNS = ("reward", "best", "random_reward", "random_best")


def agent_figures(results: Results) -> list[Figure]:
    """Draw the learning curves of at most six cycles, evenly spread from the first to the last."""
    cycles = np.unique(np.linspace(0, results.settings.cycles - 1, _SHOWN).round().astype(int))
    return [_figure(results, int(cycle)) for cycle in cycles] if results.agents else []


def _figure(results: Results, cycle: int) -> Figure:
    runs = [results.agents[seed, cycle] for seed in results.settings.seeds]
    stem = f"agent_cycle{cycle}"
    # Seeds share the number of episodes, a setting; an aborted run would have left no file.
    episodes = runs[0].curve["episode"]
    window = max(1, len(episodes) // 20)
    mean = {name: np.mean([run.curve[name] for run in runs], axis=0) for name in _COLUMNS}
    selected = [run.summary["selected_reward"] for run in runs]

    def paint(axes: Axes) -> None:
        colour = STRATEGY_COLOURS["mgral"]
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
    return Figure(f"Cycle {cycle}", caption, draw(stem, 5.0, 3.7, paint), _table(results, cycle, stem))


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


def _table(results: Results, cycle: int, stem: str) -> Table:
    rows = tuple(
        {
            "seed": seed,
            "episode": int(run.curve["episode"][index]),
            **{name: float(run.curve[name][index]) for name in _COLUMNS},
        }
        for seed in results.settings.seeds
        for run in (results.agents[seed, cycle],)
        for index in range(len(run.curve["episode"]))
    )
    return Table(stem, ("seed", "episode", *_COLUMNS), rows)


def agent_table(results: Results) -> Table:
    """Return the summary of each agent as it was written, scores between 0 and 1."""
    columns = tuple(next(iter(results.agents.values())).summary)
    rows = tuple(
        {"seed": seed, "cycle": cycle, **{name: run.summary[name] for name in columns}}
        for (seed, cycle), run in results.agents.items()
    )
    return Table("agents", ("seed", "cycle", *columns), rows)


def agent_lines(results: Results) -> list[dict[str, str]]:
    """Return a line for each cycle, means over seeds, as text for the page."""

    def over_seeds(cycle: int, name: str) -> Spread:
        return Spread.of([results.agents[seed, cycle].summary[name] for seed in results.settings.seeds])

    def count(cycle: int, holds: Callable[[dict[str, float]], bool]) -> str:
        runs: list[AgentRun] = [results.agents[seed, cycle] for seed in results.settings.seeds]
        return f"{sum(holds(run.summary) for run in runs)} of {len(runs)}"

    return [
        {
            "cycle": str(cycle),
            "selected": points_with_spread(over_seeds(cycle, "selected_reward")),
            "random": points_with_spread(over_seeds(cycle, "random_mean")),
            "above": _signed(over_seeds(cycle, "standard_deviations_above")),
            "best": points_with_spread(over_seeds(cycle, "random_best_as_often")),
            "better": count(cycle, lambda run: run["selected_reward"] > run["random_best_as_often"]),
            "held_out": points_with_spread(over_seeds(cycle, "held_out_gain"), sign=True),
            # Not a number where there is a single table, and so nothing to hold the agent against.
            "validated": count(cycle, lambda run: not run["held_out_gain"] <= 0),
        }
        for cycle in range(results.settings.cycles)
    ]
