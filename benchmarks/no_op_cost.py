"""What the engines cost when there is nothing to do; `python -m benchmarks.no_op_cost CONFIG [KEY=VALUE...]`.

The steps are the stub's, so that any number of jobs is made in minutes; numbers are for docs/measurements.md.
"""

import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import yaml
from dvc_project import dvc, make_project
from run_workflow import snakemake

from mgral.engine.dvc_export import dvc_yaml
from mgral.engine.workflow import configure

ARGUMENTS = ("--cores", "2", "--configfile", "params.yaml")


def main(configfile: Path, changes: list[str]) -> None:
    """Run the experiment on the stub by Snakemake, commit it to DVC, and time each engine with nothing to do."""
    overrides = {key: yaml.safe_load(value) for key, value in (change.split("=", 1) for change in changes)}
    config = configure([configfile], overrides)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder)
        (folder / "params.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        os.chdir(folder)
        Path("dvc.yaml").write_bytes(dvc_yaml(Path("params.yaml")))
        print(f"stages: {len(yaml.safe_load(Path('dvc.yaml').read_text())['stages'])}", flush=True)
        done = snakemake(folder, *ARGUMENTS, stub=True)
        assert done.returncode == 0, done.stdout
        print(f"dvc commit: {timed(lambda: dvc('commit', '--force', '--no-relink')):.1f} s", flush=True)
        print(f"dvc repro: {timed(lambda: check('up to date', dvc('repro'))):.1f} s", flush=True)
        print(f"dvc status: {timed(lambda: check('up to date', dvc('status'))):.1f} s", flush=True)
        print(f"snakemake: {timed(lambda: check('Nothing to be done', plan(folder))):.1f} s", flush=True)


def plan(folder: Path) -> str:
    """Run it and return what it says."""
    return snakemake(folder, *ARGUMENTS, stub=True).stdout


def timed(action) -> float:
    """Return the seconds of an action."""
    start = perf_counter()
    action()
    return perf_counter() - start


def check(words: str, said: str) -> None:
    """Assert that words are said."""
    assert words in said, said[-2000:]


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
