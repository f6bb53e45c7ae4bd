"""Strategies as named instances with settings of their own."""

import pytest
import yaml

from mgral.config import DEFAULT, Config, config_yaml, registry, resolve_config
from mgral.errors import InputError

PAPER = {
    "type": "mgral",
    "embedding": {"object_counts": False},
    "lut": {"labels": "consistency", "splits": 1},
    "reward": {"distance": "sliced", "estimator": "nearest"},
    "agent": {"policy": "lstm"},
}


def test_a_list_of_names_stands_for_instances_without_settings_of_their_own():
    listed = resolve_config({"strategies": ("random", "margin")})
    assert listed == resolve_config({"strategies": {"random": None, "margin": {"type": "margin"}}})
    assert {name: own.type for name, own in listed.strategies.items()} == {"random": "random", "margin": "margin"}
    assert listed.strategies["margin"].lut == listed.lut


def test_all_are_all_that_are_registered():
    assert list(resolve_config({"strategies": "all"}).strategies) == list(registry.strategies())


def test_an_instance_has_the_experiments_settings_but_for_its_own():
    config = resolve_config({"strategies": {"paper": PAPER}, "lut": {"variants": 5, "splits": 3}})
    paper = config.for_strategy("paper")
    assert (paper.lut.variants, paper.lut.splits, paper.lut.labels) == (5, 1, "consistency")
    assert (paper.reward.estimator, paper.agent.policy) == ("nearest", "lstm")
    assert paper.agent.episodes == config.agent.episodes
    assert (config.lut.labels, config.lut.start) == ("labels", "cold")


def test_the_resolved_configuration_is_read_as_the_same_one():
    config = resolve_config({"strategies": {"paper": PAPER, "random": {}}, "lut": {"concentration": (0.2, 3.0)}})
    written = yaml.safe_load(config_yaml(config))
    assert written["strategies"] == {"paper": PAPER, "random": {"type": "random"}}
    assert resolve_config(written) == config


def test_equal_settings_have_one_name_whatever_the_instances_are_called():
    changed = {"type": "mgral", "lut": {"variants": 7}}
    config = resolve_config(
        {
            "strategies": {
                "mgral": {},
                "same": {"type": "mgral", "lut": {"variants": Config().lut.variants}},
                "more_agents": {
                    "type": "mgral",
                    "agent": {"episodes": 7},
                    "lut": {"splits": 1, "refresh": "every_cycle"},
                },
                "a": changed,
                "b": changed,
                "kernel": {"type": "mgral", "agent": {"policy": "lstm"}, "reward": {"estimator": "kernel"}},
                "sliced": {
                    "type": "mgral",
                    "agent": {"policy": "lstm"},
                    "reward": {"distance": "sliced", "estimator": "kernel"},
                },
            }
        }
    )
    tables = {name: config.name_of("table", name) for name in config.strategies}
    assert [tables[name] for name in ("mgral", "same", "more_agents", "kernel", "sliced")] == [DEFAULT] * 5
    assert tables["a"] == tables["b"] != DEFAULT
    assert config.with_settings("table", tables["a"]).lut.variants == 7
    rewards = {name: config.name_of("reward", name) for name in config.strategies}
    assert rewards["kernel"] == DEFAULT != rewards["sliced"]
    assert config.with_settings("reward", rewards["sliced"]).reward.distance == "sliced"
    renamed = resolve_config({"strategies": {"zzz": changed, "mgral": None}})
    assert renamed.name_of("table", "zzz") == tables["a"]


def test_a_name_that_no_settings_have_is_an_error():
    with pytest.raises(InputError, match="--table 12345678: no strategy"):
        Config().with_settings("table", "12345678")


@pytest.mark.parametrize(
    ("strategies", "messages"),
    [
        (("random", "random"), ["strategies: ['random', 'random'] repeats an entry"]),
        ("random", ["strategies: 'random' is neither a list of names nor a mapping"]),
        ((), ["strategies: Dictionary should have at least 1 item"]),
        (("randum",), ["strategies: there is no strategy 'randum'; choose from mgral, random, "]),
        (("entropy",), ["strategies: 'entropy' is now 'entropy_anchors'; rename it"]),
        (("mi_aod",), ["strategies: 'mi_aod' is now 'head_discrepancy'; rename it"]),
        (
            {"a": {"type": "random", "agent": {"episodes": 7}, "lut": {"splits": 1}}},
            ["strategies.a: random does not use lut and agent; remove it"],
        ),
        ({"mgral_greedy": {"agent": {"episodes": 7}}}, ["strategies.mgral_greedy: mgral_greedy does not use agent"]),
        ({"a b": {"type": "random"}}, ["strategies.a b: a name has only letters, digits"]),
        ({1: {"type": "random"}, "x": {}}, ["the names [1] as other than text; put them in quotes"]),
        (
            {"x": {"type": "mgral", "lut": {"labels": "teacher", "nope": 1}}, "y": 3},
            [
                "strategies.x.lut.labels: teacher is now pseudo_labels; rename it",
                "strategies.x.lut.nope: unknown key",
                "strategies.y: Input should be a valid dictionary",
            ],
        ),
        ({"x": {"type": "random", "training": {}}}, ["strategies.x.training: unknown key"]),
    ],
)
def test_faults_are_named_by_their_place(strategies, messages):
    with pytest.raises(InputError) as error:
        resolve_config({"strategies": strategies})
    assert all(message in str(error.value) for message in messages), str(error.value)


def test_renamed_keys_and_another_version_are_refused_with_the_new_names_in_one_pass():
    old = {"version": 1, "agent": {"reference": "previous"}, "lut": {"labels": "labelled_subsets"}}
    with pytest.raises(InputError) as error:
        resolve_config(old)
    assert "version: this mgral reads version 2, found 1" in str(error.value)
    assert "agent.reference: is now agent.baseline; rename it" in str(error.value)
    assert "lut.labels: labelled_subsets is now labels; rename it" in str(error.value)


def test_a_strategy_may_set_sections_that_an_instance_sets_again():
    regression = {"distance": "by_class", "estimator": "regression"}
    config = resolve_config(
        {"strategies": {"paper": {}, "other": {"type": "paper", "reward": regression}, "mgral": {}}}
    )
    paper, other = (config.for_strategy(name) for name in ("paper", "other"))
    assert (paper.lut.labels, paper.lut.start, paper.lut.splits) == ("consistency", "warm", 1)
    assert paper.reward.estimator == "nearest"
    assert (other.lut.labels, other.reward, other.embedding.object_counts) == ("consistency", config.reward, False)
    assert config.for_strategy("mgral").lut == config.lut
    written = yaml.safe_load(config_yaml(config))
    # What a strategy sets is written out, and so is what an instance takes back of it.
    assert written["strategies"]["paper"]["lut"] == {"labels": "consistency", "start": "warm", "splits": 1}
    assert written["strategies"]["other"]["reward"] == regression
    assert resolve_config(written) == config


def test_the_papers_tables_need_a_detector_with_anchors_as_all_knows():
    frcnn = {"name": "torchvision", "model": "fasterrcnn_mobilenet_v3_large_320_fpn", "weights": None}
    config = resolve_config({"detector": frcnn | {"width": 64, "height": 64}, "strategies": "all"})
    assert "mgral_greedy" in config.strategies
    assert "paper" not in config.strategies
    with pytest.raises(InputError, match=r"consistency \(of paper\) needs a detector with anchors"):
        resolve_config({"detector": frcnn, "strategies": ["paper"]})
    with pytest.raises(InputError, match=r"consistency \(of snakemake fidelity\) needs a detector with anchors"):
        resolve_config({"detector": frcnn, "strategies": ["random"], "lut": {"labels": "consistency"}})


@pytest.mark.parametrize(
    ("strategies", "methods"),
    [
        (["random", "mgral", "mgral_greedy"], ("mgral_greedy", "mgral")),
        (["paper", "random", "mgral"], ("mgral", "paper")),
        ({"random": {}, "own": {"type": "mgral"}, "paper": {}}, ("own", "paper")),
        (["random"], ()),
    ],
)
def test_the_methods_that_pages_are_about_have_tables_and_the_main_one_comes_first(strategies, methods):
    assert resolve_config({"strategies": strategies}).methods == methods


def test_a_strategy_that_is_not_compared_still_has_its_own_settings():
    config = resolve_config({"strategies": ["random"], "lut": {"splits": 3}}).with_instance("paper")
    assert config.for_strategy("paper").agent.policy == "lstm"
    assert config.for_strategy("paper").lut.splits == 1
    assert config.lut.splits == 3
    with pytest.raises(InputError, match="nothing"):
        config.with_instance("nothing")
