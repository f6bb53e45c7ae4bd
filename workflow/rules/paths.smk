# What the rules share: above all where artefacts are, of which docs/artefacts.md describes each. No rules.
#
# Wildcards, beside experiment, seed (repetition) and cycle:
#   round      whose detector it is: initial (cycle 0 of every strategy), full (all training images) or strategies/NAME
#   strategy   the name of an instance in CONFIG.strategies
#   type       the registered strategy of a head, which instances of one type share
#   table, reward, embedding   names of settings that instances share: `default`, or digits (Config.name_of)
#   split (of the images that measure rewards), first and last (variant or batch of a job)

import functools
import re

EXPERIMENT = "results/{experiment}"
ROUND = EXPERIMENT + "/seed{seed}/{round}/cycle{cycle}"
STRATEGY = EXPERIMENT + "/seed{seed}/strategies/{strategy}/cycle{cycle}"
TABLE = ROUND + "/tables/{table}/split{split}"
# A log for each job. The wildcards in its path are those of the job's outputs.
LOGS = EXPERIMENT + "/logs"
# The snapshot of a round of a project; None for other experiments. All rounds share the pixels of their pictures.
SNAPSHOT = round_data(CONFIG)
PIXELS = "results/pictures/{canvas}/{digest}"
CANVAS = PixelSettings.of(CONFIG) if SNAPSHOT else None
# What steps take as --images.
TRAIN_IMAGES, TEST_IMAGES = (
    EXPERIMENT + f"/dataset/{split}" + (".images.json" if SNAPSHOT else ".npy")
    for split in ("train", "test")
)
# Without a label there is no detector: images are compared by what its training would start from.
COLD_START = SNAPSHOT is not None and not SNAPSHOT.labelled
# What trainings of the detector start from, for rules that build one.
WEIGHTS = (
    [EXPERIMENT + "/weights.safetensors"] if CONFIG.detector.trained.weights else []
)
# Settings that are null are derived from the data: the input size once, the rest for each seed. Every rule that reads a
# detector's settings takes the file with all of them.
INPUT_SIZE = (
    [EXPERIMENT + "/dataset/input_size.json"]
    if "width" in CONFIG.detector.open_keys
    else []
)
DERIVED = (
    [EXPERIMENT + "/seed{seed}/derived.json"]
    if CONFIG.open_keys and not COLD_START
    else []
)
# The file by which images are scored and queried (FINDS), and the one by which they are embedded (EMBEDS): the
# weights of the cycle's detector, or what a detector that is a command has written.
GIVES = CONFIG.detector.command_gives
FINDS = "detector.safetensors" if GIVES is None else "external.safetensors"
EMBEDS = FINDS if "features" in (GIVES or ()) else "detector.safetensors"
# Memory of the process of a job that runs the detector, in MB.
MEM_MB = CONFIG.detector.trained.process_mb
# Priority of the rules that lead to the lookup tables and the agent: the longest chain of jobs waits for them.
LONGEST_CHAIN = 1


wildcard_constraints:
    experiment=re.escape(CONFIG.experiment),
    seed=r"-?\d+",
    round="|".join(
        ["initial", "full", *(f"strategies/{name}" for name in CONFIG.strategies)]
    ),
    strategy="|".join(CONFIG.strategies),
    type=r"[A-Za-z0-9_-]+",
    cycle=r"\d+",
    table=r"\w+",
    reward=r"\w+",
    embedding=r"\w+",
    split=r"\d+",
    first=r"\d+",
    last=r"\d+",
    canvas=CANVAS.folder if CANVAS else "",
    digest="[0-9a-f]+",


def weights_option(wildcards, input):
    """The option of the rules that build a detector."""
    return f" --weights {input.weights}" if input.weights else ""


def derived_option(wildcards, input):
    """The option of the rules that read a detector's settings, some of which may be derived."""
    return f" --derived {input.derived}" if input.derived else ""


def settings_of(step):
    """The settings that a job's outputs depend on: a change of one reruns it."""
    return lambda wildcards: depends_on(CONFIG, step, dict(wildcards.items()))


def round_of(strategy, cycle):
    """The folder of a strategy's detector; all strategies have that of `initial` at cycle 0."""
    place = "initial" if int(cycle) == 0 else f"strategies/{strategy}"
    return f"{EXPERIMENT}/seed{{seed}}/{place}/cycle{cycle}"


def table_round(strategy, cycle):
    """The folder of the tables that serve a strategy in a cycle, and of the embeddings they were made from."""
    once = CONFIG.strategies[strategy].lut.refresh == "once"
    return round_of(strategy, 0 if once else cycle)


def in_embeddings(folder, strategy):
    return f"{folder}/embeddings/{CONFIG.name_of('embedding', strategy)}.safetensors"


def tables_of(strategy, cycle):
    """The lookup tables that serve a strategy in a cycle, one for each reward split."""
    table, reward = (CONFIG.name_of(kind, strategy) for kind in ("table", "reward"))
    folder = f"{table_round(strategy, cycle)}/tables/{table}"
    return [
        f"{folder}/split{split}/{reward}/table.safetensors"
        for split in range(CONFIG.strategies[strategy].lut.splits)
    ]


@functools.cache
def card_mb(step, table):
    """What a job of a step takes of a card's memory, in MiB."""
    return card_memory_mb(CONFIG.with_settings("table", table), step)


def job_card_mb(job):
    return card_mb(job.rule.name, job.wildcards_dict.get("table", DEFAULT))


def gpus_of(step):
    """The resource `gpu`: 1 where this machine has a card on which the job fits. A profile may give others."""
    return lambda wildcards: DEVICES.gpus(
        card_mb(step, wildcards.get("table", DEFAULT))
    )


def vram_mb_of(step):
    """The resource `vram_mb`: the memory of the card, so that several jobs can share one."""
    return lambda wildcards: DEVICES.share(
        card_mb(step, wildcards.get("table", DEFAULT))
    )


def filled(pattern, **wildcards):
    """A path of the experiment with its wildcards filled in."""
    return pattern.format(experiment=CONFIG.experiment, **wildcards)


def evaluated_rounds():
    """The folders of all detectors of the experiment, cycle by cycle."""
    rounds = [("initial", 0), ("full", 0)]
    rounds += [
        (f"strategies/{strategy}", cycle + 1)
        for cycle in range(CONFIG.cycles)
        for strategy in CONFIG.strategies
    ]
    return [
        filled(ROUND, seed=seed, round=place, cycle=cycle)
        for seed in CONFIG.seeds
        for place, cycle in rounds
    ]


def queries(strategies):
    """The folders of all queries of the given strategies."""
    return [
        filled(STRATEGY, seed=seed, strategy=strategy, cycle=cycle)
        for seed in CONFIG.seeds
        for strategy in strategies
        for cycle in range(CONFIG.cycles)
    ]


def lookup_tables():
    """The folders of all lookup tables, each once."""
    tables = [
        str(Path(filled(path, seed=seed)).parent)
        for seed in CONFIG.seeds
        for strategy in CONFIG.with_tables
        for cycle in range(CONFIG.cycles)
        for path in tables_of(strategy, cycle)
    ]
    return list(dict.fromkeys(tables))
