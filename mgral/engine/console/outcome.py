"""What a run came to, in a few lines: where the report is, and what its tables hold."""

import csv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

STRATEGIES = 5
"""Strategies that are named, the best first."""
FEWEST_SEEDS = 3
"""Fewer say nothing of how sure a difference is."""
Row = Mapping[str, str]


def result_lines(results: Path | None, rules: Collection[str], outputs: Sequence[str]) -> list[str]:
    """Return where the result is and what it is.

    Parameters
    ----------
    results
        Folder of the experiment, if it is known.
    rules
        What was run; where nothing was, the reports that are there are named.
    outputs
        Of the last job, which are named where no report was made.
    """
    pages = {"report": "report.html", "fidelity": "fidelity/report.html"}
    if results is None:
        return []
    made = [results / page for rule, page in pages.items() if rule in rules or not rules]
    lines = [f"Report: {page}" for page in made if page.exists()]
    ranking = results / "tables" / "ranking.csv"
    if lines and (not rules or "report" in rules) and ranking.is_file():
        lines += _ranking_lines(ranking)
    return lines or [f"Made: {output}" for output in outputs]


def _ranking_lines(path: Path) -> list[str]:
    """Return three lines: mean mAP, what is gained on random sampling, and how sure the first place is."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["score"] == "map"]
    if not rows:
        return []
    seeds = int(rows[0]["seeds"])
    several = f"{seeds} seeds" + (", with 95 % intervals" if seeds >= FEWEST_SEEDS else "")
    lines = [f"mAP, mean of the curve, {several if seeds > 1 else '1 seed'}: {_listed(rows, '', '')}"]
    compared = [row for row in rows if row["to_random"]]
    if compared:
        lines.append(f"Against random sampling, in points: {_listed(compared, 'to_random', '+')}")
    first = rows[0]
    if first["to_best"]:
        ahead = f"{first['strategy']} is {100 * float(first['to_best']):.2f} points ahead of {first['best_other']}"
        separable = "separable" if first["to_best_separable"] == "True" else "not separable"
        sure = f"{separable} at these seeds" if seeds >= FEWEST_SEEDS else "too few seeds to tell it from chance"
        lines.append(f"{ahead}: {sure}.")
    return lines


def _listed(rows: Sequence[Row], difference: str, sign: str) -> str:
    """Write a mean and, where there is one, its interval of each row, in per cent."""
    low, high = (f"{difference}_{end}".lstrip("_") for end in ("low", "high"))

    def text(row: Row) -> str:
        names = [name for name in (difference or "mean", low, high) if row[name]]
        mean, *interval = (f"{100 * float(row[name]):{sign}.1f}" for name in names)
        return f"{row['strategy']} {mean}" + (f" ({' to '.join(interval)})" if interval else "")

    more = f" and {len(rows) - STRATEGIES} more" if len(rows) > STRATEGIES else ""
    return ", ".join(map(text, rows[:STRATEGIES])) + more
