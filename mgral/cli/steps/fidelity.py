"""Step `fidelity`: looked-up rewards compared with true gains."""

from pathlib import Path

import click

from mgral.artefacts.files import write_bytes
from mgral.cli import options
from mgral.config import load_config
from mgral.report.fidelity import build_fidelity_report, load_trials


@click.command("fidelity")
@options.config
@click.option("--results", required=True, type=click.Path(path_type=Path), help="The experiment's results folder.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="HTML file to write; figures/ and tables/ are written beside it.",
)
def command(config_path: Path, results: Path, output: Path) -> None:
    """Write the page that compares looked-up rewards with true gains, with figures (SVG, PNG) and tables (CSV).

    Prints Spearman's correlation of each kind of lookup, the best first, and the noise ceiling.
    """
    config = load_config(config_path)
    report = build_fidelity_report(config, load_trials(results, config))
    for figure in report.figures:
        for name, content in figure.files.items():
            write_bytes(output.parent / "figures" / name, content)
    for table in report.tables:
        write_bytes(output.parent / "tables" / f"{table.stem}.csv", table.csv)
    write_bytes(output, report.html.encode())
    for row in report.rows:
        click.echo("\t".join([*row.kind, f"{row.fidelity.mean:.3f}"]))
    click.echo(f"noise ceiling\t{report.ceiling:.3f}")
