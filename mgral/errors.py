"""The two ways in which a step fails, and the exit code of each."""


class InputError(Exception):
    """What the user gave cannot be used: exit code 2, nothing written.

    The message names the file or the key, and ends in what to do.
    """


class StepError(Exception):
    """The step itself failed on usable input, such as a loss that is not finite: exit code 1."""
