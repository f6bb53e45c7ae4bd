"""Snakemake's logger plug-in `mgral`, found by the name of this package: the console of a run."""

import sys
from pathlib import Path

from mgral.engine.configfiles import explain_command
from mgral.engine.console.handler import LogHandler

__all__ = ["LogHandler"]

# Snakemake reads the files of --configfile before the Snakefile and before it has a logger, and ends in a traceback
# where one of them cannot be read. This package is imported before that.
if Path(sys.argv[0]).stem in ("snakemake", "__main__") and (fault := explain_command(sys.argv[1:])):
    print(f"mgral: {fault}", file=sys.stderr)
    sys.exit(2)
