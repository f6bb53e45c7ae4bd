import inspect
import json
import re
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import yaml
from run_workflow import ROOT, TINY, count_rules, jobs_planned, planned, snakemake
from snakemake.cli import get_argument_parser
from snakemake.scheduling.job_scheduler import JobScheduler
from squares_project import SquaresProject

from mgral.config import Config, load_config, resolve_config
from mgral.engine.steps import STEPS, VERSIONS
from mgral.engine.workflow import depends_on, keys_in_file

PIPELINE = list(STEPS)
FIDELITY = {"candidates", "gain", "lookup", "fidelity"}
"""Steps of `snakemake fidelity`, which no experiment has else."""
ON_A_NETWORK = {"download", "weights"}
"""Steps that an experiment has only where its data set, or its detector, asks for them."""
OF_A_COMMAND = {"external"}
"""Steps that an experiment has only where its detector is a command."""
OF_A_TEACHER = {"pseudo_labels"}
"""Steps that an experiment has only where variants learn from pseudo-labels."""
OF_A_HEAD = {"head"}
"""Steps that an experiment has only where a strategy has a head."""
OF_A_PROJECT = {"pictures", "index", "prelabels", "held_out"}
"""Steps that an experiment has only where it is a round of a project."""
EXAMPLE = ROOT / "examples" / "external_detector" / "config.yaml"

DERIVE = {"input_size", "derive"}
"""Steps that an experiment has only where settings are null."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the stub has gone through the whole tiny experiment."""
    folder = tmp_path_factory.mktemp("finished")
    done = snakemake(folder, "--cores", "2", "--configfile", TINY, stub=True)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Every kind of job: of the tiny experiment with its fidelity, and of others that have what it has not."""
    folder = tmp_path_factory.mktemp("planned")
    ours = jobs_planned(folder, "all", "fidelity", "--configfile", TINY)
    more = ("--configfile", ROOT / "config" / "voc_ssd300.yaml", "--until", "weights")
    (folder / "real.yaml").write_text("{initial: 9, cycles: 1, detector: {name: ssd}}")
    real = jobs_planned(folder, "--configfile", folder / "real.yaml", "--until", "derive")
    headed = ("--configfile", TINY, "--config", "strategies=[llal]", "--until", "head")
    by_command = jobs_planned(folder, "--configfile", EXAMPLE, "--until", "external")
    project = SquaresProject.make(folder)
    labelled = [project.labelled(number) for number in range(1, 5)]
    opened = project.open(1, [project.add(8)], labelled, [project.labelled(5)], strategies=["entropy_sum"])
    held_out = "results/round1/seed1/initial/cycle0/held_out.json"
    of_round = jobs_planned(project.folder, "all", held_out, "--configfile", opened)
    return [
        *ours,
        *(job for job in jobs_planned(folder, *more) if job.rule in ON_A_NETWORK),
        *(job for job in real if job.rule in DERIVE),
        *(job for job in by_command if job.rule in OF_A_COMMAND),
        *(job for job in jobs_planned(folder, *headed) if job.rule in OF_A_HEAD),
        *(job for job in of_round if job.rule in OF_A_PROJECT),
    ]


def test_a_rule_for_every_step(jobs):
    assert {job.rule for job in jobs} == set(PIPELINE)


def test_every_job_runs_its_step_on_one_thread_and_says_what_it_needs(jobs):
    for job in jobs:
        assert job.command.startswith(f"mgral {job.rule} ")
        assert len(job.logs) == 1
        assert job.command.endswith(f" > {job.logs[0]} 2>&1")
        assert (job.resources["_cores"], job.resources["gpu"]) == (1, 0)
        assert job.resources["mem_mb"] > 0
        assert ("vram_mb" in job.resources) == ("--gpus" in job.command)
        if STEPS[job.rule].reads:
            assert any(path.endswith("/config.yaml") for path in job.inputs)


def test_only_the_evaluation_of_a_cycle_sees_test_images(jobs):
    """No test image is in any training or reward set, as no job that trains or selects is given one."""

    def readers(part):
        return {job.rule for job in jobs if any(part in path for path in job.inputs)}

    assert readers("/test.json") | readers("/test.npy") == {
        "input_size",
        "cache",
        "index",
        "groups",
        "evaluate",
        "gain",
        "external",
        "report",
    }
    # What `gain` measures is read by the page that is drawn of it, and by nothing else.
    assert readers("/gains") == {"fidelity"}
    assert readers("/metrics.json") | readers("/detections.json") == {"report"}


def test_no_job_reads_times(jobs):
    """They differ from run to run, and so would what was made of them."""
    assert not [job for job in jobs if any("/timings/" in path for path in job.inputs)]


def test_depends_on_is_what_the_step_reads():
    config = resolve_config({"strategies": ["mgral"]})
    for step in set(PIPELINE) - {"report"}:
        for key in json.loads(depends_on(config, step, {"strategy": "mgral"})):
            assert key in ("type", "step_version", *STEPS[step].reads) or key.split(".")[0] in STEPS[step].reads
    assert "lut.variants" in json.loads(depends_on(config, "subsets"))
    assert not {"lut.refresh", "lut.splits", "lut.variants_per_job"} & set(json.loads(depends_on(config, "subsets")))
    assert set(json.loads(depends_on(config, "report"))) == {*Config.model_fields, "step_version"} - {"container"}


def test_every_step_has_a_version():
    assert list(VERSIONS) == list(STEPS)
    assert all(isinstance(version, int) for version in VERSIONS.values())
    config = resolve_config({"strategies": ["mgral"]})
    versions = {step: json.loads(depends_on(config, step, {"strategy": "mgral"}))["step_version"] for step in STEPS}
    assert versions == VERSIONS


def test_a_job_depends_on_the_version_of_a_plug_in(monkeypatch):
    """Those that run what it brings: queries of its strategy, and steps that read its detector's section."""
    monkeypatch.setattr("mgral.engine.workflow.package_of", lambda group, name: {"random": "mine 1.0"}.get(name))
    config = resolve_config({"strategies": ["random", "margin"]})
    of = {name: json.loads(depends_on(config, "select", {"strategy": name})) for name in config.strategies}
    assert of["random"]["plug_ins"] == ["mine 1.0"]
    assert "plug_ins" not in of["margin"]
    monkeypatch.setattr("mgral.engine.workflow.package_of", lambda group, name: {"small_ssd": "mine 1.0"}.get(name))
    with_plug_in = {step for step in STEPS if "plug_ins" in depends_on(config, step, {"strategy": "margin"})}
    assert {"detector", "evaluate", "embed", "variant", "select"} <= with_plug_in
    assert not {"data", "initial", "label", "agent"} & with_plug_in
    monkeypatch.setattr("mgral.engine.workflow.package_of", lambda group, name: {"llal": "mine 1.0"}.get(name))
    assert "plug_ins" in depends_on(config, "head", {"type": "llal"})
    assert "plug_ins" not in depends_on(config, "head", {"type": "meh_hua"})


@pytest.mark.parametrize(
    ("strategy", "sections"),
    [("mgral", {"budget", "reward"}), ("core_set", {"budget"}), ("ppal", {"budget", "detector", "evaluation"})],
)
def test_selection_depends_on_what_its_strategy_requires(strategy, sections):
    config = resolve_config({"strategies": {"it": {"type": strategy}}})
    settings = set(json.loads(depends_on(config, "select", {"strategy": "it"})))
    assert settings - {"embedding"} == {*sections, "type", "step_version"}


def test_a_job_depends_on_its_own_strategys_settings():
    agent = {"policy": "lstm", "episodes": 9}
    own = {"type": "mgral", "agent": agent, "lut": {"variants": 5}, "reward": {"estimator": "kernel"}}
    config = resolve_config({"strategies": {"mgral": {}, "own": own}})
    of_agents = [json.loads(depends_on(config, "agent", {"strategy": name})) for name in ("mgral", "own")]
    assert [settings["agent"]["episodes"] for settings in of_agents] == [config.agent.episodes, 9]
    assert [settings["reward"]["estimator"] for settings in of_agents] == ["regression", "kernel"]
    table = {"table": config.name_of("table", "own")}
    assert json.loads(depends_on(config, "subsets", table))["lut.variants"] == 5
    assert keys_in_file(config, "agent", {"strategy": "own"})[-2:] == [
        "strategies.own.reward",
        "strategies.own.agent",
    ]
    assert "strategies.own.lut" in keys_in_file(config, "subsets", table)
    assert not [key for key in keys_in_file(config, "subsets", {"table": "default"}) if key.startswith("strategies")]


def test_a_kind_of_training_depends_on_its_own_iterations():
    longer = resolve_config({"iterations": {"detector": 301}})
    assert depends_on(longer, "detector") != depends_on(Config(), "detector")
    assert depends_on(longer, "base") == depends_on(Config(), "base")
    # Variants that start anew from labels are trained as long as detectors.
    assert depends_on(longer, "variant") != depends_on(Config(), "variant")


def test_only_the_initial_set_that_is_drawn_depends_on_its_size():
    assert set(json.loads(depends_on(Config(), "initial", {"round": "initial"}))) == {"initial", "step_version"}
    assert set(json.loads(depends_on(Config(), "initial", {"round": "full"}))) == {"step_version"}


def test_dry_run_plans_every_job_and_writes_nothing(tmp_path):
    counts = count_rules(planned(tmp_path, "--configfile", TINY))
    config = load_config(TINY)
    cycles, strategies = config.cycles, len(config.strategies)
    assert (
        set(counts)
        == set(PIPELINE) - FIDELITY - ON_A_NETWORK - DERIVE - OF_A_COMMAND - OF_A_TEACHER - OF_A_HEAD - OF_A_PROJECT
    )
    assert counts["detector"] == counts["evaluate"] == 2 + cycles * strategies
    assert counts["select"] == counts["label"] == cycles * strategies
    assert counts["variant"] == 2  # variants 0 and 1, and variant 2
    assert counts["agent"] == cycles
    assert counts["embed"] == counts["table"] == counts["base"] == 1
    assert not (tmp_path / "results").exists()


def test_a_table_each_cycle(tmp_path):
    jobs = planned(tmp_path, "--configfile", TINY, "--config", "lut={refresh: every_cycle, splits: 3}")
    embedded = {(wildcards["round"], wildcards["cycle"]) for rule, wildcards in jobs if rule == "embed"}
    assert embedded == {("initial", "0"), ("strategies/mgral", "1")}
    assert Counter((w["cycle"], w["split"]) for rule, w in jobs if rule == "table") == Counter(product("01", "012"))
    assert count_rules(jobs)["agent"] == 2


def test_snakemake_still_has_the_limit_of_job_starts_that_is_taken_away():
    """On one machine it takes half a core after hundreds of jobs: docs/decisions/069."""
    assert get_argument_parser().get_default("max_jobs_per_timespan") == "100/1s"
    source = inspect.getsource(JobScheduler)
    assert source.count("self.job_rate_limiter = (") == 1
    assert source.count("if self.job_rate_limiter is None:") == 1
    assert source.count("if self.job_rate_limiter is not None:") == 1


def test_finished_experiment_has_nothing_to_do(finished):
    assert planned(finished, "--configfile", TINY, stub=True) == []


def test_timings_that_cannot_be_written_fail_no_run(tmp_path):
    """Here a file is in the place of their folder."""
    place = tmp_path / "results" / "tiny" / "timings"
    place.parent.mkdir(parents=True)
    place.touch()
    run = (tmp_path, "--cores", "1", "--configfile", TINY, "--until", "config")
    done = snakemake(*run, stub=True)
    assert done.returncode == 0, done.stdout
    assert "mgral: timings are not written: " in done.stdout
    assert place.read_bytes() == b""


def test_commands_are_given_what_their_strategy_needs(finished):
    seed = finished / "results" / "tiny" / "seed0"
    mgral, entropy, random = (
        (seed / "strategies" / strategy / "cycle1" / "selection.json").read_text()
        for strategy in ("mgral", "entropy_anchors", "random")
    )
    assert "--embeddings results/tiny/seed0/initial/cycle0/embeddings/default.safetensors" in mgral
    assert "--agent results/tiny/seed0/strategies/mgral/cycle1/agent.safetensors" in mgral
    assert "--detector" not in mgral
    assert "--detector results/tiny/seed0/strategies/entropy_anchors/cycle1/detector.safetensors" in entropy
    assert "--images results/tiny/dataset/train.npy" in entropy
    assert not re.search("--(agent|embeddings|detector|images)", random)
    assert "--all" in (seed / "full" / "cycle0" / "labelled.json").read_text()
    labelled = (seed / "strategies" / "random" / "cycle1" / "labelled.json").read_text()
    assert "--labelled results/tiny/seed0/initial/cycle0/labelled.json" in labelled
    assert "--selection results/tiny/seed0/strategies/random/cycle0/selection.json" in labelled


def test_agents_learning_rate_reruns_only_what_follows_from_it(finished):
    jobs = planned(finished, "--configfile", TINY, "--config", "agent={learning_rate: 0.03}", stub=True)
    assert count_rules(jobs) == {"agent": 2, "select": 2, "label": 2, "detector": 2, "evaluate": 2, "report": 1}
    assert {wildcards["strategy"] for _, wildcards in jobs if "strategy" in wildcards} == {"mgral"}
    assert {wildcards["round"] for _, wildcards in jobs if "round" in wildcards} == {"strategies/mgral"}
    assert {wildcards["cycle"] for rule, wildcards in jobs if rule == "detector"} == {"1", "2"}


def test_one_more_cycle_keeps_the_others(finished):
    jobs = planned(finished, "--configfile", TINY, "--config", "cycles=3", stub=True)
    assert count_rules(jobs) == {"agent": 1, "select": 3, "label": 3, "detector": 3, "evaluate": 3, "report": 1}


def test_a_strategy_with_a_head_that_is_added_trains_no_detector_again(finished):
    """Two instances of one type share the head on the detector of cycle 0, and have other detectors after it."""
    strategies = "strategies={mgral: {}, random: {}, entropy_anchors: {}, llal: {}, other: {type: llal}}"
    jobs = planned(finished, "--configfile", TINY, "--config", strategies, stub=True)
    rounds = [(wildcards["round"], wildcards["cycle"]) for rule, wildcards in jobs if rule == "detector"]
    assert sorted(rounds) == [(f"strategies/{name}", cycle) for name in ("llal", "other") for cycle in "12"]
    heads = [(wildcards["round"], wildcards["cycle"]) for rule, wildcards in jobs if rule == "head"]
    assert sorted(heads) == [("initial", "0"), ("strategies/llal", "1"), ("strategies/other", "1")]
    assert {wildcards["type"] for rule, wildcards in jobs if rule == "head"} == {"llal"}


def test_fewer_strategies_only_redraw_the_report(finished):
    jobs = planned(finished, "--configfile", TINY, "--config", "strategies=[random]", stub=True)
    assert count_rules(jobs) == {"report": 1}


def test_fidelity_is_asked_for_by_name_and_tries_batches_on_randoms_cycle(finished):
    """Runs after those that plan from the finished experiment alone."""
    done = snakemake(finished, "fidelity", "--cores", "2", "--configfile", TINY, stub=True)
    assert done.returncode == 0, done.stdout
    place = finished / "results" / "tiny" / "seed0" / "fidelity" / "cycle1"
    tables = load_config(TINY).fidelity_tables()
    assert {folder.name for folder in place.iterdir() if folder.is_dir()} == set(tables)
    assert not (finished / "results" / "tiny" / "seed0" / "strategies" / "random" / "cycle1" / "tables").exists()
    serving = finished / "results" / "tiny" / "seed0" / "initial" / "cycle0" / "tables"  # as of lut.refresh: once
    assert {folder.name for folder in serving.iterdir()} == set(tables)
    assert (
        "--labelled results/tiny/seed0/strategies/random/cycle1/labelled.json"
        in (place / "candidates.json").read_text()
    )
    taught = {folder.name for folder in serving.iterdir() if "--pseudo-labels" in _variants_of(folder)}
    assert taught == {name for name in tables if _table(name).lut.labels == "pseudo_labels"}
    assert {(_table(name).lut.labels, _table(name).lut.start) for name in tables} == set(
        product(("consistency", "labels", "pseudo_labels"), ("warm", "cold"))
    )
    assert len(list(place.glob("gains*.json"))) == 5
    assert (finished / "results" / "tiny" / "fidelity" / "report.html").read_text().startswith("fidelity --config")
    assert planned(finished, "fidelity", "--configfile", TINY, stub=True) == []
    assert planned(finished, "--configfile", TINY, stub=True) == []


def _table(name: str) -> Config:
    return load_config(TINY).with_settings("table", name)


def _variants_of(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("split0/variants*.json"))


def test_failed_job_leaves_nothing_and_the_run_resumes(tmp_path):
    run = (tmp_path, "--cores", "2", "--configfile", TINY)
    failed = snakemake(*run, stub=True, STUB_FAILS="embed")
    assert failed.returncode == 1
    assert "mgral: the stub fails at embed" in failed.stdout
    cycle = tmp_path / "results" / "tiny" / "seed0" / "initial" / "cycle0"
    assert (cycle / "detector.safetensors").exists()
    assert not (cycle / "embeddings" / "default.safetensors").exists()
    assert ("detector", "initial") not in [
        (rule, wildcards.get("round")) for rule, wildcards in planned(*run[:1], *run[3:], stub=True)
    ]
    resumed = snakemake(*run, stub=True)
    assert resumed.returncode == 0, resumed.stdout
    assert (cycle / "embeddings" / "default.safetensors").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budgets=3", "budgets: unknown key"),
        ("seeds=[0", "--config: the value '[0' is no YAML; close its brackets"),
        ("agent={learning_rate: -1}", "agent.learning_rate: Input should be greater than 0, found -1"),
        ("data={format: coco, root: missing}", "data: there is no folder missing; correct data.root"),
    ],
)
def test_faulty_configuration_ends_with_2_and_writes_nothing(tmp_path, override, message):
    done = snakemake(tmp_path, "--cores", "1", "--configfile", TINY, "--config", override)
    assert done.returncode == 2
    assert message in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()


INSTANCES = {
    "mgral": {},
    "paper": {
        "type": "mgral",
        "embedding": {"object_counts": False},
        "lut": {"labels": "consistency"},
        "reward": {"distance": "sliced", "estimator": "nearest"},
        "agent": {"policy": "lstm"},
    },
    "taught": {"type": "mgral", "lut": {"labels": "pseudo_labels"}},
    "warm": {"type": "mgral", "lut": {"start": "warm"}},
    "warm-again_2": {"type": "mgral", "lut": {"start": "warm"}},
    "sliced": {
        "type": "mgral",
        "agent": {"policy": "lstm"},
        "reward": {"distance": "sliced", "estimator": "kernel"},
    },
    "kernel": {"type": "mgral", "agent": {"policy": "lstm"}, "reward": {"estimator": "kernel"}},
    "long": {"type": "mgral", "agent": {"episodes": 4}},
    "full": {"type": "random"},
    "0": {"type": "core_set"},
    "random": {},
}


def test_eleven_instances_share_what_has_equal_settings(tmp_path):
    """Variants of four kinds: default, paper, taught, warm; of the default's variants a second table: `sliced`."""
    path = tmp_path / "instances.yaml"
    path.write_text(yaml.safe_dump({"strategies": INSTANCES}))
    counts = count_rules(planned(tmp_path, "--configfile", TINY, path))
    agents, cycles = 8, load_config(TINY).cycles
    assert counts["subsets"] == counts["base"] == 4
    assert counts["variant"] == 4 * 2
    assert counts["table"] == 5
    assert counts["pseudo_labels"] == 1
    assert counts["agent"] == agents * cycles
    assert counts["select"] == counts["label"] == len(INSTANCES) * cycles
    assert counts["detector"] == 2 + len(INSTANCES) * cycles
    # Of cycle 0 for all tables and core_set alike, and of core_set's cycle 1.
    assert counts["embed"] == 2


def test_a_file_of_weights_is_an_input_of_one_job_and_its_outcome_of_all_trainings(tmp_path):
    (tmp_path / "mine.pth").touch()
    own = ("--configfile", TINY, "--config", "detector={weights: mine.pth, width: 64, height: 64, channels: 8}")
    jobs = jobs_planned(tmp_path, "all", "fidelity", *own)
    assert [job.rule for job in jobs if "mine.pth" in job.inputs] == ["weights"]
    readers = {job.rule for job in jobs if "results/tiny/weights.safetensors" in job.inputs}
    assert readers == {"detector", "base", "gain"}
