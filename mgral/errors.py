"""The ways in which a step fails, and the exit code of each."""


class InputError(Exception):
    """What the user gave cannot be used: exit code 2, nothing written.

    The message names the file or the key, and ends in what to do.
    """


class StepError(Exception):
    """The step itself failed on usable input, such as a loss that is not finite: exit code 1."""


class SparseError(StepError):
    """There is too little data to make something; the message says what is missing.

    On the way to a choice of images that is no failure: a step writes the reason in the place of what it cannot make,
    reading that raises the error again, and in the end the images are chosen at random.
    """
