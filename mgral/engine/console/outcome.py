"""What a run came to, in a few lines: where the report is, and what its tables hold."""

import csv
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

PAGES = {"report": "report.html", "fidelity": "fidelity/report.html"}
NAMED = 5
"""Strategies that are named, the best first."""
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
        first = (ranked[0]["labels"], "map")
        lines += _ranking_lines([row for row in ranked if (row["labels"], row["score"]) == first])
        rounds = Counter(row["strategy"] for row in _rows(results / "tables" / "random_rounds.csv"))
        if rounds:
            named = ", ".join(f"{strategy} {count}" for strategy, count in rounds.items())
            lines.append(f"Rounds in which a strategy had to choose at random, see the report: {named}")
    return lines or [f"Made: {output}" for output in outputs]


def _rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table of the report; none where there is no such file."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def _ranking_lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return mean mAP, the difference to random sampling, and how sure the first place is; three lines at most."""
    first, seeds = rows[0], int(rows[0]["seeds"])
    of = f"{seeds} seed{'s' * (seeds > 1)}{', with 95 % intervals' * bool(first['low'])}"
    lines = [f"mAP, mean of the curve by {first['labels']}, {of}: {_listed(rows, '.1f', 'mean', 'low', 'high')}"]
    compared = [row for row in rows if row["to_random"]]
    if compared:
        names = ("to_random", "to_random_low", "to_random_high")
        lines.append(f"Points above random sampling: {_listed(compared, '+.1f', *names)}")
    if first["to_best"]:
        gap = f"{100 * float(first['to_best']):.2f} points"
        if first["to_best_clear"] == "True":
            lines.append(f"{first['strategy']} is clearly ahead of {first['best_other']}, by {gap}.")
        else:
            why = "no clear difference" if seeds >= FEWEST_SEEDS else "too few seeds to say whether that is chance"
            lines.append(f"{first['strategy']} is {gap} ahead of {first['best_other']}: {why}.")
    return lines


def _listed(rows: Sequence[Mapping[str, str]], form: str, *columns: str) -> str:
    """Write a mean and, where there is one, its 95 % interval of each row, in per cent."""
    texts = []
    for row in rows[:NAMED]:
        mean, *ends = (f"{100 * float(row[name]):{form}}" for name in columns if row[name])
        texts.append(f"{row['strategy']} {mean}" + (f" ({' to '.join(ends)})" if ends else ""))
    return ", ".join(texts) + (f" and {len(rows) - NAMED} more" if len(rows) > NAMED else "")
