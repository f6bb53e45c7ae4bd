"""What a run came to, in a few lines: where the report is, and what its tables contain."""

import csv
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from mgral.evaluation.intervals import interval_in
from mgral.evaluation.learnt import learnt_nothing

PAGES = {"report": "report.html", "fidelity": "fidelity/report.html"}
NAMED = 5
"""Strategies that are named, the best first."""
UNUSUAL = {
    "random_rounds": "a strategy had to choose at random",
    "noted_rounds": "the lookup tables were not used",
}
"""Tables of rounds that were not chosen in the usual way, and what happened there."""
FEWEST_SEEDS = 3
"""Fewer do not tell how sure a difference is."""


def result_lines(results: Path, rules: Collection[str], outputs: Sequence[str]) -> list[str]:
    """Return where the result is, and what it is.

    Parameters
    ----------
    results
        Folder of the experiment.
    rules
        What was run; where nothing was, the reports that are there are named.
    outputs
        Of the last job, which are named where no report was made.
    """
    pages = [results / page for rule, page in PAGES.items() if rule in (rules or PAGES)]
    lines = [f"Report: {page}" for page in pages if page.exists()]
    if results / PAGES["report"] in pages and lines and (ranked := _rows(results / "tables" / "ranking.csv")):
        # The first is by the labels that the budget counts.
        kinds = dict.fromkeys(row["labels"] for row in ranked)
        by_map = [[row for row in ranked if (row["labels"], row["score"]) == (kind, "map")] for kind in kinds]
        sentence = nothing_learnt(results)
        lines += [sentence] if sentence else [*_ranking_lines(by_map[0]), *_other_lines(*by_map)]
        for table, description in UNUSUAL.items():
            rounds = Counter(row["strategy"] for row in _rows(results / "tables" / f"{table}.csv"))
            if rounds:
                strategies = ", ".join(f"{strategy} {count}" for strategy, count in rounds.items())
                lines.append(f"Rounds in which {description}, see the report: {strategies}")
    return lines or [f"Made: {output}" for output in outputs]


def not_compared(results: Path) -> list[str]:
    """Return a line on changed pictures where they make no job run again: those of COCO and VOC data sets."""
    path = results / "config.yaml"
    if not path.exists() or yaml.safe_load(path.read_text("utf-8"))["data"]["format"] not in ("coco", "voc"):
        return []
    return ["Pictures are not compared: if some were replaced under the same name, add --forcerun data cache"]


def nothing_learnt(results: Path) -> str:
    """Return the sentence on a detector that has learnt almost nothing, by the report's tables; empty of another."""
    # Those of all labels have no cycle.
    full = [float(row["map"] or "nan") for row in _rows(results / "tables" / "detectors.csv") if not row["cycle"]]
    return learnt_nothing(full) if full else ""


def _rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table of the report; none where there is no such file."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def _ranking_lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return mean mAP, the difference to random sampling, and how sure the first place is; three lines at most."""
    best, seeds = rows[0], int(rows[0]["seeds"])
    seeds_text = f"{seeds} seed{'s' * (seeds > 1)}"
    lines = [f"mAP, mean of the curve by {best['labels']}, {seeds_text}: {_listed(rows, _mean_in_words)}"]
    compared = [row for row in rows if row["to_random"]]
    if compared:
        interval_note = ", with 95 % intervals" * any(interval_in(row, "to_random").known for row in compared)
        lines.append(f"Points above random sampling{interval_note}: {_listed(compared, _to_random_in_words)}")
    if best["to_best"]:
        gap = f"{100 * float(best['to_best']):.2f} points"
        if gap == "0.00 points":
            lines.append(f"No difference between {best['strategy']} and {best['best_other']}.")
        elif best["to_best_clear"] == "True":
            lines.append(f"{best['strategy']} is clearly ahead of {best['best_other']}, by {gap}.")
        else:
            reason = "no clear difference" if seeds >= FEWEST_SEEDS else "too few seeds to exclude chance"
            lines.append(f"{best['strategy']} is {gap} ahead of {best['best_other']}: {reason}.")
    return lines


def _other_lines(rows: Sequence[Mapping[str, str]], *others: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a line on each other kind of labels by which the strategies, random included, come in another order."""
    order = [row["strategy"] for row in rows]
    for other_rows in others:
        if [row["strategy"] for row in other_rows] != order:
            compared = [row for row in other_rows if row["to_random"]]
            comparison = (
                f"points above random sampling {_listed(compared, _to_random_in_words)}"
                if compared
                else _listed(other_rows, _mean_in_words)
            )
            yield f"By labelled {other_rows[0]['labels']} it is different: {comparison}"


def _listed(rows: Sequence[Mapping[str, str]], row_in_words: Callable[[Mapping[str, str]], str]) -> str:
    texts = [f"{row['strategy']} {row_in_words(row)}" for row in rows[:NAMED]]
    return ", ".join(texts) + (f" and {len(rows) - NAMED} more" if len(rows) > NAMED else "")


def _mean_in_words(row: Mapping[str, str]) -> str:
    return f"{100 * float(row['mean']):.1f}" if row["mean"] else "–"


def _to_random_in_words(row: Mapping[str, str]) -> str:
    """Write a difference to random sampling in points, with its 95 % interval where there is one."""
    gap, interval = _signed(float(row["to_random"])), interval_in(row, "to_random")
    text = "no difference" if gap == "0.0" else gap
    return f"{text} ({_signed(interval.low)} to {_signed(interval.high)})" if interval.known else text


def _signed(value: float) -> str:
    """Write a score between 0 and 1 in per cent; 0 has no sign."""
    text = f"{100 * value:+z.1f}"
    return "0.0" if text == "+0.0" else text
