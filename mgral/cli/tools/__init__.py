"""Commands that are no step of the pipeline."""

TOOLS = {
    "project": "Label a folder of pictures round by round.",
    "snakemake": "Run Snakemake on the workflow of this package, in any folder.",
    "compare": "Compare the artefacts of two results folders byte by byte.",
    "verify": "Find artefacts that were altered, or made of other inputs than lie there now.",
    "results": "Write pages of finished experiments: command, commit, machine, seeds, tables, figures.",
    "predict": "Find objects in pictures by a trained detector.",
    "onnx": "Write a trained detector as an ONNX file.",
    "convert": "Write a data set in another format: COCO, VOC or YOLO.",
    "dvc": "Write the workflow as DVC stages.",
    "estimate": "Estimate what an experiment costs: jobs, images, hours, disk.",
    "profile": "Print where a profile of Snakemake is, such as slurm.",
    "constraints": "Print the versions of packages with which reruns are exact.",
}
"""What each does, in the order of the help."""
