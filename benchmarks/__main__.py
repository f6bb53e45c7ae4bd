"""Benchmarks of the parts whose speed the method depends on: `python -m benchmarks NAME`."""

import sys
from importlib import import_module

import click

from mgral.errors import InputError

BENCHMARKS = {
    "accuracy": "AP50 and mAP of detectors on real data, from experiments, as a page.",
    "agent": "Training of the agent on a large pool: steps and look-ups a second, peak memory.",
    "agents": "What agents' batches gain beside the greedy choice, and how long agents train, as a page.",
    "backbone": "Training and inference on a backbone of timm's, by memory layout and number type.",
    "causes": "What the batches of experiments consist of, and what their gains follow, as a page.",
    "claims": "Differences that the protocol of the confirmatory comparison names, with p values, as a page.",
    "data": "Reading and checking of COCO JSON: processor seconds and peak memory.",
    "evaluate": "Scores of detections: faster-coco-eval beside pycocotools, seconds and largest difference.",
    "detector": "Iterations of SSD300 and RetinaNet at full size, beside torchvision's loop.",
    "features": "Which descriptions of a set of images predict the variants of lookup tables, as a page.",
    "gpu": "Small trainings side by side on one card: images a second, AP50, kernels; launches of a step, as a page.",
    "gpu_experiment": "A whole experiment on a card: images a second, beside trainings alone.",
    "groups": "Near-copies among thumbnails: processor seconds and peak memory.",
    "label_studio": "Push and pull with a real Label Studio: seconds; rounds with made-up people; as pages.",
    "pool": "Two rounds of a project with many pictures: seconds and memory of each command and job, as a page.",
    "reward": "One look-up against one training of a variant.",
    "settings": "AP50 and mAP of a detector by settings of its training, on training images that are put aside.",
    "start": "Start of a step, alone and from the job server: seconds.",
    "select": "Selection from a large pool: seconds and peak memory.",
    "training": "Training of a detector: images a second.",
}


class _Benchmarks(click.Group):
    """Imports a benchmark only when it is asked for, as torch alone takes seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(BENCHMARKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in BENCHMARKS:
            return None
        benchmark = import_module(f"benchmarks.{cmd_name}").command
        assert isinstance(benchmark, click.Command)
        return benchmark

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Benchmarks"):
            formatter.write_dl(list(BENCHMARKS.items()))


@click.command(
    "benchmarks", cls=_Benchmarks, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
def benchmarks() -> None:
    """Measure the speed of evaluation, look-ups, selection and training on this machine."""


if __name__ == "__main__":
    try:
        benchmarks()
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)
