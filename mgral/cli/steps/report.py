"""Step `report`: the figures, tables and page of a finished experiment."""

from pathlib import Path

import click

from mgral.artefacts.files import write_bytes, write_csv
from mgral.cli import options
from mgral.config import load_config
from mgral.report.page import build_report
from mgral.report.results import load_results
from mgral.report.spread import points_with_spread


@click.command("report")
@options.config
@click.option("--results", required=True, type=click.Path(path_type=Path), help="The experiment's results folder.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="HTML file to write; figures/ and tables/ are written beside it.",
)
def command(config_path: Path, results: Path, output: Path) -> None:
    """Draw the report of a finished experiment: one HTML file, and its figures and numbers as SVG and CSV.

    Prints each strategy's final mAP in per cent, mean ± standard deviation over seeds.
    """
    report = build_report(load_results(results, load_config(config_path)))
    for figure in report.figures:
        write_bytes(output.parent / "figures" / f"{figure.stem}.svg", figure.svg.encode())
    for table in report.tables:
        write_csv(output.parent / "tables" / f"{table.stem}.csv", table.cells, table.columns)
    write_bytes(output, report.html.encode())
    for row in report.summary:
        click.echo(f"{row.strategy}\t{points_with_spread(row.final_map)}")
