"""Step `report`: the figures, tables and page of an experiment."""

from pathlib import Path

import click

from mgral.artefacts.files import write_bytes
from mgral.artefacts.integrity import files_of
from mgral.cli import options
from mgral.config import load_config
from mgral.report.kept import remove_partial_report
from mgral.report.page import build_report
from mgral.report.partial import load_complete
from mgral.report.results import load_results
from mgral.report.spread import points_with_spread


@click.command("report")
@options.config
@click.option("--partial", is_flag=True, help="Report the complete strategies, and list what is missing.")
@click.option(
    "--log", "logs", type=options.FILE, multiple=True, help="Log of a failed job, for --partial; may be repeated."
)
@click.option("--results", required=True, type=click.Path(path_type=Path), help="The experiment's results folder.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="HTML file to write; figures/ and tables/ are written beside it.",
)
def command(config_path: Path, partial: bool, logs: tuple[Path, ...], results: Path, output: Path) -> None:
    """Write the report of a finished experiment: one HTML file, its figures as SVG and PNG, its numbers as CSV.

    For an unfinished experiment, --partial reports the complete strategies; a later complete report removes it.
    Prints each strategy's final mAP in per cent, mean ± standard deviation over seeds.
    """
    config = load_config(config_path)
    loaded, missing = load_complete(results, config, logs) if partial else (load_results(results, config), None)
    report = build_report(loaded, missing)
    figures = {f"figures/{name}": content for figure in report.figures for name, content in figure.files.items()}
    tables = {f"tables/{table.stem}.csv": table.csv for table in report.tables}
    written = {output.parent / name: content for name, content in (figures | tables).items()}
    for path, content in written.items():
        write_bytes(path, content)
    write_bytes(output, report.html.encode())
    for path in [file for part in ("figures", "tables") for file in files_of(output.parent / part)]:
        if path not in written:
            path.unlink()  # of strategies that are no longer compared
    if not partial:
        remove_partial_report(output.parent)
    for row in report.summary:
        click.echo(f"{row.strategy}\t{points_with_spread(row.final_map)}")
