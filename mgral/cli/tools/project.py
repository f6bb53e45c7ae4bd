"""Command `project`: a folder of pictures, labelled round by round."""

from importlib import import_module

import click

COMMANDS = {
    "init": "Make a project from folders of pictures and existing labels.",
    "status": "Show what is labelled, what is out, and the next command.",
    "next": "Choose the next pictures to label, and write them for labelling tools.",
    "train": "Train a detector on all labels, without choosing pictures: the last step.",
    "check": "Search for label errors, and score detectors by cross-validation.",
    "control": "Compare the strategy with pictures drawn at random.",
    "push": "Send the tasks of a round to the server of a labelling tool.",
    "pull": "Import labels from the server of a labelling tool.",
    "import": "Import labels from files.",
    "scan": "Search for new, renamed and missing pictures.",
    "classes": "Add, rename, merge and split classes.",
    "again": "Write tasks for pictures that were labelled before a class existed.",
    "withdraw": "Take pictures out of the project.",
    "recall": "Let pictures that were sent or withdrawn be chosen again.",
    "report": "Write a page on the detectors' scores, the hours of labelling, and whether to continue.",
    "replay": "Test on the labelled pictures whether the strategies are better than random.",
    "export": "Write the labelled pictures as COCO, YOLO or VOC.",
    "dvc": "Write the rounds as DVC stages.",
}
"""What each does, in the order of the help."""


class _Commands(click.Group):
    """Imports a command's module only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = "import_" if cmd_name == "import" else cmd_name
        command = import_module(f"mgral.cli.project.{module}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command("project", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Label a folder of pictures round by round: each round chooses the pictures that help the detector most.

    All commands except `init` work on the project in the working directory, or in the folder given by --folder.
    """
