"""Step `fidelity`: looked-up rewards compared with true gains."""

from pathlib import Path

import click

from mgral.artefacts.files import write_bytes
from mgral.cli import options
from mgral.config import load_config
from mgral.report.fidelity import build_fidelity_report
from mgral.report.fidelity_trials import load_trials


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

    Prints what they say in a sentence. Then Spearman's correlations of each kind of lookup, the best first, and the
    noise ceilings: over all batches, over those drawn at random, and over those that strategies chose.
    """
    config = load_config(config_path)
    report = build_fidelity_report(config, load_trials(results, config))
    for figure in report.figures:
        for name, content in figure.files.items():
            write_bytes(output.parent / "figures" / name, content)
    for table in report.tables:
        write_bytes(output.parent / "tables" / f"{table.stem}.csv", table.csv)
    write_bytes(output, report.html.encode())
    click.echo(report.sentence)
    for row in report.rows:
        click.echo("\t".join([*row.kind, *(f"{fidelity.mean:.3f}" for fidelity in row.by_part.values())]))
    click.echo(
        "\t".join(["noise ceiling", *(f"{comparison.ceiling:.3f}" for comparison in report.comparisons.values())])
    )
