"""Command `project`: a folder of pictures, labelled round by round."""

from importlib import import_module

import click

COMMANDS = {
    "init": "Make a project of folders of pictures, and of the labels that there are.",
    "status": "Show what is labelled, what is out, and what comes next.",
    "next": "Choose the next pictures to label, and write them for labelling tools.",
    "train": "Train a detector on all labels, without choosing pictures: the last step.",
    "check": "Look for errors in the labels, and measure detectors by cross-validation.",
    "control": "Compare the strategy with pictures drawn at random.",
    "push": "Send the tasks of a round to the server of a labelling tool.",
    "pull": "Read labels that came back, from the server.",
    "import": "Read labels that came back, from files.",
    "scan": "Look for new, renamed and missing pictures.",
    "classes": "Add, rename, merge and split classes.",
    "again": "Write the pictures that were labelled before a class existed, for another look.",
    "withdraw": "Take pictures out of the project.",
    "recall": "Take back pictures that were sent or withdrawn, so that they can be chosen again.",
    "report": "Write a page on how good the detectors are, what labelling took, and whether to go on.",
    "replay": "Try on the labelled pictures whether the strategies beat random.",
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
    """Label a folder of pictures round by round: which pictures next, so that the detector learns most.

    All commands but `init` work on the project in the working directory, or in the folder given by --folder.
    """
