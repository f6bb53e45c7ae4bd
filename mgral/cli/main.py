"""The command line: `mgral STEP`, exit codes 0 done, 1 failed, 2 wrong usage or input."""

import gc
import io
import os
import sys
from collections.abc import Callable
from copy import copy
from importlib import import_module
from traceback import walk_tb
from typing import Any

import click
from click.exceptions import NoSuchCommand

from mgral.cli.tools import TOOLS
from mgral.engine.steps import STEPS
from mgral.errors import InputError, StepError

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by torch, NumPy and SciPy when they are imported."""

MEMORY_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "Storage size calculation overflowed")
"""Parts of torch's messages where an allocation fails; on the CPU it raises a bare RuntimeError."""
SMALLER = (
    "lower what the configuration asks for, such as the size and channels of the detector or training.batch_size; "
    "or run fewer jobs at once (--cores)"
)


class _Steps(click.Group):
    """Imports a step's module only when it is asked for, as torch alone takes seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*TOOLS, *STEPS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in STEPS and cmd_name not in TOOLS:
            return None
        # As Snakemake does for its jobs: sums over another number of threads have other last bits.
        for name in THREADS:
            os.environ.setdefault(name, "1")
        # Importing torch makes a million objects that stay; collecting garbage meanwhile costs a tenth of a start.
        gc.disable()
        folder = "steps" if cmd_name in STEPS else "tools"
        command = copy(import_module(f"mgral.cli.{folder}.{cmd_name}").command)
        gc.freeze()
        gc.enable()
        assert isinstance(command, click.Command)
        assert command.callback is not None
        if cmd_name in STEPS:
            recorded = import_module("mgral.engine.provenance").recorded(cmd_name, command.callback)
            command.callback = _on_cards(recorded)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:  # click looks for similar names among those it has imported
            raise NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands for people"):
            formatter.write_dl(list(TOOLS.items()))
        with formatter.section("Steps, which Snakemake runs"):
            formatter.write_dl([(name, step.summary) for name, step in STEPS.items()])


def _on_cards(callback: Callable[..., None]) -> Callable[..., None]:
    """Return a step's callback that first waits for the GPUs that it is given."""

    def run(**arguments: Any) -> None:
        gpus = arguments.get("gpus", 0)
        if not gpus:
            callback(**arguments)
            return
        memory_mb = click.get_current_context().meta[import_module("mgral.cli.options").VRAM]
        with import_module("mgral.compute.cards").hold_cards(gpus, memory_mb):
            callback(**arguments)

    return run


def _print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(import_module("mgral.engine.provenance").version())
        ctx.exit()


@click.command(cls=_Steps, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show version, commit, plug-ins and versions of steps, and exit.",
)
def mgral() -> None:
    """Active learning for object detection with performance-guided reinforcement, step by step.

    Each step reads files and writes files; `snakemake` runs them all. Exit codes: 0 done, 1 failed, 2 wrong
    usage, configuration or data.
    """


def main() -> None:
    """Run the command line and turn the project's errors into a message and an exit code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal's encoding may lack letters of names
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        mgral(prog_name="mgral")
    except InputError as error:
        print(f"mgral: {error}", file=sys.stderr)
        sys.exit(2)
    except StepError as error:
        print(f"mgral: {error}", file=sys.stderr)
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        print(f"mgral: there is not enough memory ({_first_line(error)}); {SMALLER}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if not _is_of_output(error):
            raise
        # Python would write what is left once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"mgral: standard output cannot be written ({error.strerror}); free space, run again", file=sys.stderr)
        sys.exit(1)


def _is_of_memory(error: BaseException) -> bool:
    """Return whether there was not enough memory, of the machine or of a card; torch has no type for the former."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in MEMORY_WORDS)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _is_of_output(error: OSError) -> bool:
    """Return whether an error comes from printing; that of a pipe that is closed ends in click."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_code is click.echo.__code__
