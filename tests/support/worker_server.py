"""A job server whose jobs of one GPU are given a card that is not there, so that they run in workers, on the CPU.

`mgral python CODE` runs Python in the place of a step.
"""

import sys

from mgral.cli import jobs, server
from mgral.compute import cards
from mgral.compute.gpus import Card

CARD = Card("CARD", "Stand-in", 16000)
run_step = jobs.run_command_line


def run() -> None:
    """Run a step, or Python."""
    if sys.argv[1] == "python":
        exec(sys.argv[2], {})
    else:
        run_step()


if __name__ == "__main__":
    server._import_step(["detector"])  # once, and not in each worker
    cards._usable_cards = lambda gpus: [CARD] if gpus else []
    jobs.run_command_line = run
    sys.argv = [sys.argv[0], sys.argv[-1]]
    server.main()
