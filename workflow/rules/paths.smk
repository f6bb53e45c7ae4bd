# What the rules share: above all where artefacts are, of which ARCHITECTURE.md describes each. No rules.
#
# Wildcards: experiment, seed (repetition), strategy, cycle, split (of the labelled images, for rewards), first and last
# (variant of a job), and source (kind of table, in fidelity.smk); nothing else.
# strategy is initial (cycle 0 of every strategy), full (the reference), or one of CONFIG.strategies.

import re

EXPERIMENT = "results/{experiment}"
ROUND = EXPERIMENT + "/seed{seed}/{strategy}/cycle{cycle}"
MGRAL = EXPERIMENT + "/seed{seed}/mgral/cycle{cycle}"
LUT = MGRAL + "/lut/split{split}"
# One a job: the wildcards that follow are those of the job's outputs.
LOGS = EXPERIMENT + "/logs"
BENCHMARKS = EXPERIMENT + "/benchmarks"
# What the backbone of the detector starts from, for rules that build one.
WEIGHTS = [EXPERIMENT + "/weights.pth"] if CONFIG.detector.backbone_weights else []
# Memory of the process of a job that runs the detector, in MB. vram_mb is the memory of the card, in MiB, so that
# several jobs can share one: `--resources vram_mb=24000` bounds their sum.
MEM_MB = CONFIG.detector.process_mb
# Of the rules that lead to the table and through the agent: what waits for them is the longest chain of jobs.
LONGEST_CHAIN = 1


wildcard_constraints:
    experiment=re.escape(CONFIG.experiment),
    seed=r"-?\d+",
    strategy="|".join(["initial", "full", *registry.strategies()]),
    cycle=r"\d+",
    split=r"\d+",
    first=r"\d+",
    last=r"\d+",


def weights_option(wildcards, input):
    """The option of the rules that build a detector."""
    return f" --weights {input.weights}" if WEIGHTS else ""


def in_round(name):
    """The file of the job's own cycle; all strategies have that of `initial` at cycle 0."""

    def path(wildcards):
        shared = int(wildcards.cycle) == 0 and wildcards.get("strategy") != "full"
        strategy = "initial" if shared else wildcards.get("strategy", "mgral")
        return f"{EXPERIMENT}/seed{{seed}}/{strategy}/cycle{{cycle}}/{name}"

    return path


def lut_cycle(cycle):
    """The cycle whose table and embeddings serve the given one."""
    return 0 if CONFIG.lut.refresh == "once" else int(cycle)


LUT_CYCLES = {lut_cycle(cycle) for cycle in range(CONFIG.cycles)}


def in_embeddings(wildcards):
    """The embeddings that the tables were made from: of the agent's choices too."""
    cycle = lut_cycle(wildcards.cycle)
    return f"{EXPERIMENT}/seed{{seed}}/{'mgral' if cycle else 'initial'}/cycle{cycle}/embeddings.safetensors"


def in_tables(wildcards):
    folder = f"{EXPERIMENT}/seed{{seed}}/mgral/cycle{lut_cycle(wildcards.cycle)}/lut"
    return [
        f"{folder}/split{split}/table.safetensors" for split in range(CONFIG.lut.splits)
    ]


def evaluated_rounds():
    """The folders of all detectors of the experiment, cycle by cycle."""
    return [
        f"results/{CONFIG.experiment}/seed{seed}/{folder}"
        for seed in CONFIG.seeds
        for folder in [
            "initial/cycle0",
            "full/cycle0",
            *(
                f"{strategy}/cycle{cycle + 1}"
                for cycle in range(CONFIG.cycles)
                for strategy in CONFIG.strategies
            ),
        ]
    ]


def query_rounds(*strategies):
    """The folders of all queries of the given strategies."""
    return [
        f"results/{CONFIG.experiment}/seed{seed}/{strategy}/cycle{cycle}"
        for seed in CONFIG.seeds
        for strategy in strategies
        if strategy in CONFIG.strategies
        for cycle in range(CONFIG.cycles)
    ]


def lut_folders():
    """The folders in which a table is built."""
    return [
        f"{folder}/lut/split{split}"
        for folder in query_rounds("mgral")
        if int(folder.rpartition("cycle")[2]) in LUT_CYCLES
        for split in range(CONFIG.lut.splits)
    ]
