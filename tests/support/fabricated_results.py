"""A small, made-up results folder in the layout of docs/artefacts.md, with numbers from a seeded generator."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from mgral.artefacts.files import write_arrays, write_bytes, write_csv, write_json
from mgral.artefacts.integrity import content_hash, record_path
from mgral.cli.steps import report
from mgral.config import BudgetConfig, Config, RewardConfig, config_yaml, load_config, registry, resolve_config
from mgral.data.dataset import load_dataset
from mgral.engine.workflow import variant_jobs
from mgral.report.timings import COST, Made, record_command, write_timings
from mgral.selection.spending import pay, to_spend

CLASSES = ("platelet", "<b>&", "red cell")
IMAGES = 40
SIDE = 32
COMMAND = ".venv/bin/snakemake --cores all --configfile mine.yaml"


def fabricate(
    folder: Path,
    seeds: Sequence[int] = (0, 1),
    strategies: Sequence[str] | Mapping[str, Any] = ("mgral", "random", "entropy_anchors"),
    cycles: int = 2,
    classes: Sequence[str] = CLASSES,
    images: int = IMAGES,
    side: int = SIDE,
    episodes: int = 12,
    variants: int = 5,
    splits: int = 2,
    budget: int | Mapping[str, Any] = 4,
    data: Mapping[str, Any] | None = None,
    full: float = 0.55,
) -> Path:
    """Write what the report reads into `folder` and return the path of its configuration."""
    config = resolve_config(
        {
            "experiment": "fabricated",
            "seeds": tuple(seeds),
            "strategies": dict(strategies) if isinstance(strategies, Mapping) else tuple(strategies),
            "cycles": cycles,
            "initial": 6,
            "budget": dict(budget) if isinstance(budget, Mapping) else budget,
            "data": {"format": "coco", "root": "somewhere/blood <cells>", **(data or {})},
            "detector": {"name": "small_ssd", "width": side, "height": side},
            "lut": {"variants": variants, "splits": splits},
        }
    )
    write_bytes(folder / "config.yaml", config_yaml(config))
    generator = np.random.default_rng(7)
    _dataset(folder / "dataset", generator, classes, images, side)
    for seed in seeds:
        _seed(folder / f"seed{seed}", generator, config, classes, images, episodes, full)
    return folder / "config.yaml"


def _dataset(folder: Path, generator: np.random.Generator, classes: Sequence[str], images: int, side: int) -> None:
    annotations: list[dict[str, Any]] = []
    pixels = np.full((images, side, side, 3), 225, dtype=np.uint8)
    frequency = 0.6 ** (np.arange(len(classes)) / max(1, len(classes) / 6))
    for image in range(images):
        pixels[image] = (pixels[image] - 60 * generator.random(3)).astype(np.uint8)
        for _ in range(generator.integers(0, 6)):
            x, y, width, height = (*generator.integers(0, side, 2), *generator.integers(side // 3, side, 2))
            label = int(generator.choice(len(classes), p=frequency / frequency.sum()))
            shade = np.random.default_rng(label).integers(40, 200, 3)
            pixels[image, y // 2 : (y + height) // 2, x // 2 : (x + width) // 2] = shade
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image + 100,
                    "category_id": label + 3,
                    "bbox": [int(x), int(y), int(width), int(height)],
                    "iscrowd": 0,
                }
            )
    # The originals are twice as large as the cache.
    listed = [
        {"id": n + 100, "file_name": f"{n:04}.jpg", "width": 2 * side, "height": 2 * side} for n in range(images)
    ]
    categories = [{"id": label + 3, "name": name} for label, name in enumerate(classes)]
    write_json(folder / "train.json", {"images": listed, "annotations": annotations, "categories": categories})
    np.save(folder / "train.npy", pixels)


def _seed(
    folder: Path,
    generator: np.random.Generator,
    config: Config,
    classes: Sequence[str],
    images: int,
    episodes: int,
    full: float,
) -> None:
    ids = generator.permutation(images) + 100
    initial = ids[: config.initial].tolist()
    _round(folder / "initial" / "cycle0", generator, initial, 0.2, classes)
    write_json(folder / "full" / "cycle0" / "metrics.json", metrics(generator, full, classes))
    for rank, (strategy, own) in enumerate(config.strategies.items()):
        labelled, unspent = list(initial), 0
        for cycle in range(config.cycles + 1):
            place = folder / "strategies" / strategy / f"cycle{cycle}"
            if cycle:
                _round(place, generator, labelled, 0.2 + 0.05 * cycle + 0.01 * rank, classes)
            if cycle == config.cycles:
                break
            pool = [i for i in generator.permutation(ids).tolist() if i not in labelled]
            # Of boxes more images are chosen than are paid.
            chosen = pool[: 12 if isinstance(config.budget, BudgetConfig) else config.budget]
            scores = np.sort(generator.random(len(chosen)))[::-1].tolist()
            looks = registry.strategy(own.type).runs_detector
            selection = {"strategy": strategy, "images": chosen, "scores": scores}
            write_json(place / "selection.json", {**selection, "forward_passes": len(pool) * looks})
            if isinstance(config.budget, BudgetConfig):
                data = load_dataset(folder.parent / "dataset" / "train.json")
                images, unspent = pay(data, chosen, to_spend(config.budget, unspent))
                chosen = images.tolist()
            labelled = sorted(labelled + chosen)
            if strategy in config.agents:
                _agent(place, generator, episodes)
            if strategy in config.with_tables and (cycle == 0 or own.lut.refresh == "every_cycle"):
                table, reward = (config.name_of(kind, strategy) for kind in ("table", "reward"))
                tables = (place if cycle else folder / "initial" / "cycle0") / "tables" / table
                for split in range(own.lut.splits):
                    _table(tables / f"split{split}" / reward, generator, own.lut.variants, own.reward)


def _round(
    folder: Path, generator: np.random.Generator, labelled: list[int], level: float, classes: Sequence[str]
) -> None:
    write_json(folder / "labelled.json", {"images": sorted(labelled)})
    write_json(folder / "metrics.json", metrics(generator, level, classes))


def metrics(generator: np.random.Generator, level: float, classes: Sequence[str]) -> dict[str, Any]:
    """Return the content of a metrics.json around a level of mAP; nothing small, so that its AP is null."""
    value = level + 0.03 * generator.random()
    per_class = [
        {"id": label + 3, "name": name, "map": value + 0.05 * generator.random(), "ap50": 0.5, "boxes": 10 + label}
        for label, name in enumerate(classes)
    ]
    per_class[-1] |= {"map": None, "ap50": None, "boxes": 0}
    scores = {"map": value, "ap50": 1.6 * value, "ap75": 0.8 * value, "ap_medium": value, "ap_large": 1.1 * value}
    return {**scores, "ap_small": None, "images": 20, "boxes": 55, "per_class": per_class}


def _agent(folder: Path, generator: np.random.Generator, episodes: int) -> None:
    random_reward = 0.3 + 0.004 * generator.standard_normal(episodes)
    reward = random_reward + 0.02 * (1 - np.exp(-np.arange(episodes) / (episodes / 4)))
    values = {
        "reward": reward,
        "best": np.maximum.accumulate(reward + 0.004),
        "random_reward": random_reward,
        "random_best": np.maximum.accumulate(random_reward + 0.004),
        "baseline": reward,
    }
    rows = [
        {"episode": n, **{name: float(column[n]) for name, column in values.items()}, "loss": 0.1, "entropy": 3.0}
        for n in range(episodes)
    ]
    write_csv(folder / "agent.csv", rows, ("episode", *values, "loss", "entropy"))
    summary = {
        "selected_reward": float(reward[-1] + 0.005),
        "greedy_reward": float(reward[-1] + 0.004),
        "random_mean": 0.3,
        "random_std": 0.004,
        "random_batches": 200,
        "standard_deviations_above": float((reward[-1] + 0.005 - 0.3) / 0.004),
        "held_out_gain": float(reward[-1] - 0.3) / 2,
        "p_value": 0.03 if reward[-1] > 0.3 else 0.4,
        "baseline_map": 0.29,
        "random_best_as_often": 0.312,
    }
    write_json(folder / "agent.json", summary)


def _table(folder: Path, generator: np.random.Generator, variants: int, reward: RewardConfig) -> None:
    if (folder / "table.safetensors").exists():  # of another instance with the same settings
        return
    measured = 0.3 + 0.02 * generator.standard_normal(variants)
    rows = [
        {
            "variant": index + 1,
            "baseline": 0.29,
            "measured": float(value),
            "nearest": float(value + 0.02 * generator.standard_normal()),
            "kernel": float(value + 0.01 * generator.standard_normal()),
            "regression": float(value + 0.01 * generator.standard_normal()),
        }
        for index, value in enumerate(measured)
    ]
    write_csv(folder / "leave_one_out.csv", rows, tuple(rows[0]))
    common = {
        "map": measured,
        "values": measured[:, None],
        "baseline_map": np.array([0.29]),
        "kernel_widths": np.ones(1),
    }
    by_vector = {
        "embeddings": np.ones((variants, 4, 3), np.float32),
        "projections": np.ones((3, reward.projections), np.float32),
        "sorted": np.ones((variants, 4, reward.projections), np.float32),
    }
    by_class = {
        "classes": np.array([1]),
        "images": np.arange(variants * 4).reshape(variants, 4),
        "counts": generator.random((variants, 4, 3)).astype(np.float32),
        "count_zero": np.full(3, -4.0),
        "count_unit": np.ones(3),
        "count_mean": np.zeros(3),
        "features": generator.random((variants, 3, 3)),
        "roots": generator.random((variants, 3)),
        "learnt": np.full(variants, 4.0),
        "base": np.array([], np.int64),
    }
    write_arrays(folder / "table.safetensors", common | (by_class if reward.distance == "by_class" else by_vector))


def record_cost(
    output: Path, step: str, wall: float, core: float = 0, memory: float = 0, names: Mapping[str, str] | None = None
) -> Made:
    """Write the record of a job's output, and return the job as the workflow names it."""
    place = record_path(output)
    assert place is not None
    digest = content_hash(output) if output.exists() else ""
    content = {"step": step, "sha256": digest, "bytes": 0, "folder": "", "commit": ""}
    content |= {"arguments": {}, "settings": {}, "inputs": {}}
    write_json(place, {**content, **dict(zip(COST, (wall, core, memory), strict=True))})
    return step, names or {}, [f"{output}.unrecorded", str(output)]


def fabricate_costs(folder: Path) -> list[Made]:
    """Write records of what the jobs of a made-up experiment took, and return the jobs."""
    config = load_config(folder / "config.yaml")
    made = [
        record_cost(folder / "dataset" / "train.npy", "cache", 2.0, 1.5, 310.5),
        record_cost(folder / "report.html", "report", 99.0),
    ]
    for seed in map(str, config.seeds):
        initial = {"seed": seed, "round": "initial", "cycle": "0"}
        start = folder / f"seed{seed}" / "initial" / "cycle0"
        made += [
            record_cost(start / "detector.safetensors", "detector", 30.0, 29, 900.25, initial),
            record_cost(
                start / "embeddings" / "default.safetensors", "embed", 4.0, names={**initial, "embedding": "default"}
            ),
        ]
        for (strategy, own), cycle in product(config.strategies.items(), range(config.cycles)):
            query = {"seed": seed, "strategy": strategy, "cycle": str(cycle)}
            trained = {"seed": seed, "round": f"strategies/{strategy}", "cycle": str(cycle + 1)}
            rounds = folder / f"seed{seed}" / "strategies" / strategy
            now, after = rounds / f"cycle{cycle}", rounds / f"cycle{cycle + 1}"
            made += [
                record_cost(now / "selection.json", "select", 3.0 + cycle, names=query),
                record_cost(after / "detector.safetensors", "detector", 40.0, 39, 901, trained),
            ]
            if strategy in config.agents:
                made += [record_cost(now / "agent.safetensors", "agent", 10.0, 9.5, 700, query)]
            elif (
                cycle and strategy not in config.with_tables and "embeddings" in registry.strategy(own.type).requires
            ):
                embedded = {**trained, "cycle": str(cycle), "embedding": "default"}
                made += [record_cost(now / "embeddings" / "default.safetensors", "embed", 5.0, names=embedded)]
        for split in range(config.lut.splits) if config.with_tables else ():
            place, table = start / "tables" / f"split{split}", {**initial, "table": "default", "split": str(split)}
            for first, last in variant_jobs(config.lut):
                made += [record_cost(place / f"variants{first}-{last}.json", "variant", 8.0, 7, 800, table)]
            for step in ("subsets", "base", "table"):
                made += [record_cost(place / f"{step}.json", step, 2.0, names=table)]
    return made


def finish(folder: Path, **settings: Any) -> Path:
    """Make what a run of Snakemake leaves in the folder of an experiment."""
    strategies = {"random": {}, "bright-1": {"type": "margin"}}
    config = fabricate(folder, seeds=(0, 1, 2), strategies=strategies, episodes=4, **settings)
    paths = ["--config", config, "--results", folder, "--output", folder / "report.html"]
    CliRunner().invoke(report.command, [str(path) for path in paths], catch_exceptions=False)
    write_timings(load_config(config), folder, fabricate_costs(folder))
    shutil.rmtree(folder / "provenance")
    machine = {"system": "Linux x86_64", "vector_instructions": "AVX2", "gpu": "not used", "python": "3.11.7"}
    record = {
        "step": "detector",
        "commit": "0123456789abcdef-dirty",
        "machine": machine,
        "packages": {"torch": "2.0"},
    }
    write_json(folder / "provenance" / "report.html.json", record)
    shutil.copy(folder / "dataset" / "train.json", folder / "dataset" / "test.json")
    record_command(folder, "all", COMMAND)
    return folder
