"""Commands that are no step of the pipeline."""

TOOLS = {
    "project": "Label a folder of pictures round by round.",
    "snakemake": "Run Snakemake on the workflow of this package, in any folder.",
    "compare": "Compare the artefacts of two results folders byte by byte.",
    "verify": "Find artefacts that were altered, or made from other inputs than the present ones.",
    "results": "Write pages on finished experiments: command, commit, machine, seeds, tables, figures.",
    "predict": "Find objects in pictures with a trained detector.",
    "onnx": "Write a trained detector as an ONNX file.",
    "convert": "Write a data set in another format: COCO, VOC or YOLO.",
    "dvc": "Write the workflow as DVC stages.",
    "estimate": "Estimate the cost of an experiment: jobs, images, hours, disk.",
    "profile": "Print the folder of a Snakemake profile, such as slurm.",
    "constraints": "Print the package versions that exact reruns need.",
}
"""What each does, in the order of the help."""
