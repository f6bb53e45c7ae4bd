"""The steps of the pipeline: a command, a rule and a test of the same name each.

`STEPS` is the one list of them. `reads` names the configuration sections, or single keys of them, that a step
depends on: the rule reruns when one of these changes; a test compares it with what the module really reads.
"""

from pathlib import Path
from typing import NamedTuple

import yaml


class Step(NamedTuple):
    """What the command line and the workflow know of a step without importing it."""

    summary: str
    reads: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    """Sections that the step reads only to refuse a wrong experiment or to find a file; no output depends on them."""


STEPS: dict[str, Step] = {
    "config": Step("Resolve and validate a configuration."),
    "synthesize": Step("Draw the synthetic data set.", ("data",)),
    "download": Step("Download and unpack a public data set, or check the one that is there.", ("data",)),
    "data": Step(
        "Read a data set and check it: COCO JSON of the training and the test images.",
        ("data",),
        checks=("budget", "cycles", "detector", "initial", "iterations", "seeds"),
    ),
    "input_size": Step("Derive the input size from the images, if none is set.", ("detector",)),
    "cache": Step("Decode the images once, at the detector's resolution.", ("data", "detector")),
    "pictures": Step("Decode a chunk of a project's pictures once, for all its rounds."),
    "index": Step("Locate the images of a round among the project's pictures."),
    "groups": Step("Find near-copies among the images, within and across the splits.", ("near_copies",)),
    "weights": Step("Load or download the weights that trainings start from.", ("detector",), ("data",)),
    "initial": Step("Draw the initial labelled set.", ("initial",)),
    "derive": Step(
        "Derive anchors and iterations from the initially labelled boxes, where none are set.",
        ("detector",),
        checks=("iterations",),
    ),
    "detector": Step(
        "Train a detector on the labelled images.",
        ("detector", "initial", "training", "iterations.detector", "iterations.growth"),
    ),
    "head": Step(
        "Train a strategy's head, in one more training of the detector.",
        ("detector", "initial", "training", "iterations.detector", "iterations.growth"),
    ),
    "external": Step(
        "Run the command of an external detector on the labelled images.",
        ("detector",),
        checks=("data",),
    ),
    "evaluate": Step("Score a detector on the test images.", ("detector", "evaluation")),
    "embed": Step("Embed every training image.", ("detector", "embedding.dimensions")),
    "pseudo_labels": Step(
        "Label the pool with the cycle's detector, as pseudo-labels for variants.", ("detector", "evaluation")
    ),
    "subsets": Step("Draw the subsets of the lookup table.", ("budget", "embedding", "lut")),
    "base": Step("Make the weights that every variant starts from.", ("detector", "training", "iterations.base")),
    "variant": Step(
        "Train variants and measure their mAP on the reward images.",
        (
            "detector",
            "evaluation",
            "training",
            "initial",
            "iterations.base",
            "iterations.detector",
            "iterations.growth",
            "iterations.variant",
            "semi_supervised",
        ),
    ),
    "table": Step(
        "Gather the variants into the lookup table.", ("embedding", "reward.distance", "reward.projections")
    ),
    "agent": Step("Train the agent on looked-up rewards.", ("agent", "budget", "embedding", "reward")),
    "select": Step(
        "Choose the images to label next.",
        ("budget", "detector", "embedding", "evaluation", "reward"),
        checks=("data",),
    ),
    "prelabels": Step("Detect on the chosen images, for people to correct.", ("detector", "evaluation")),
    "held_out": Step(
        "Detect on the labelled images that a project's detector was not trained on.", ("detector", "evaluation")
    ),
    "label": Step("Add the chosen images, with the oracle's labels, to the labelled set."),
    "candidates": Step(
        "Draw and choose batches whose looked-up reward is compared with their true gain.",
        ("budget", "detector", "embedding", "evaluation", "fidelity.batches", "lut.clusters", "reward"),
    ),
    "gain": Step(
        "Train detectors with candidate batches labelled, and score them on the test images.",
        (
            "detector",
            "evaluation",
            "fidelity.repeats",
            "initial",
            "iterations.detector",
            "iterations.growth",
            "training",
        ),
    ),
    "lookup": Step(
        "Predict the gain of the candidate batches with lookup tables of one kind.",
        ("embedding", "reward"),
    ),
    "fidelity": Step(
        "Compare looked-up rewards with true gains.", ("experiment", "fidelity", "lut", "reward", "seeds")
    ),
    "report": Step(
        "Draw the report of an experiment.",
        (
            "experiment",
            "seeds",
            "strategies",
            "cycles",
            "initial",
            "budget",
            "data",
            "detector",
            "training",
            "iterations",
            "lut",
            "reward",
            "agent",
        ),
    ),
}

VERSIONS: dict[str, int] = yaml.load(Path(__file__).with_name("versions.yaml").read_bytes(), yaml.CSafeLoader)
"""The version of what each step writes: raised when it changes, so that neither engine keeps the old results."""
