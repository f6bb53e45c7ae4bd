"""The section of a detector that is a command: what is refused before the first job, and what its proxy is for."""

import re

import numpy as np
import pytest

from mgral.config import DetectorConfig, config_schema, config_yaml, registry, resolve_config
from mgral.config.detectors import detectors
from mgral.data.dataset import as_dataset
from mgral.data.derive import derive_settings
from mgral.engine.workflow import depends_on, keys_in_file
from mgral.errors import InputError
from mgral.models.build import build_detector

COMMAND = "detect {train} {pool} {test} {output}"
BY_EMBEDDINGS = (
    "core_set",
    "k_means",
    "max_herding",
    "mgral",
    "mgral_greedy",
    "mgral_greedy_per_box",
    "paper",
    "typiclust",
)
BY_COUNTS = ("most_objects", "sqrt_counts", "sqrt_counts_per_box")
BY_FILES = ("random", "random_no_copies", *BY_EMBEDDINGS, *BY_COUNTS)
BY_UNCERTAINTY = ("cdal_by_class", "pal", "entropy_max", "entropy_mean", "entropy_sum", "least_confidence", "margin")
BY_PROBABILITIES = (*BY_UNCERTAINTY, "class_presence", "class_presence_per_box")


def config(strategies=("random",), command=COMMAND, gives=("probabilities",), fidelity=None, **own):
    detector = {"name": "external", "command": command, "gives": tuple(gives), **own}
    return resolve_config({"detector": detector, "strategies": strategies, "fidelity": fidelity or {}})


@pytest.mark.parametrize("gives", [(), ("probabilities",), ("features",), ("probabilities", "features")])
def test_every_strategy_is_served_or_refused_by_name(gives):
    served = {*BY_FILES, *(BY_PROBABILITIES if "probabilities" in gives else ())}
    assert set(config(tuple(sorted(served)), gives=gives).strategies) == served
    assert set(config("all", gives=gives).strategies) == served
    with pytest.raises(InputError) as raised:
        config(tuple(registry.strategies()), gives=gives)
    refused = re.findall(r"strategies: ([\w, ]+?) needs? ", str(raised.value))
    assert set(", ".join(refused).split(", ")) == set(registry.strategies()) - served


@pytest.mark.parametrize(("gives", "third"), [(("probabilities",), "entropy_sum"), (("features",), "core_set")])
def test_what_is_compared_by_default_is_served(gives, third):
    assert list(config(None, gives=gives).strategies) == ["mgral_greedy", "random", "sqrt_counts", third]


@pytest.mark.parametrize(
    ("name", "gives", "reason"),
    [
        ("entropy_sum", (), "probabilities, and detector.gives does not name them"),
        ("cald", ("probabilities",), "a detector that is shown changed images, and a command is not"),
        ("ppal", ("probabilities",), "a detector with anchors on feature maps, and external has none"),
    ],
)
def test_a_refusal_says_what_to_do(name, gives, reason):
    with pytest.raises(InputError, match=f"strategies: mine needs {reason}; leave these out, or choose another"):
        config({"mine": {"type": name}}, gives=gives)


def test_tables_learn_by_what_the_proxy_can():
    table = {"mine": {"type": "mgral", "lut": {"labels": "consistency"}}}
    assert config(table).strategies["mine"].lut.labels == "consistency"
    compared = config(fidelity={"tables": "all"})
    assert "consistency" in {compared.with_settings("table", name).lut.labels for name in compared.fidelity_tables()}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("detect {tain} {test} {output}", r"there is no \{tain\}; there are \{train\}, \{pool\}"),
        ("detect {train}", r"it lacks \{test\}, \{output\}, without which"),
    ],
)
def test_a_command_with_wrong_placeholders_is_refused(command, message):
    with pytest.raises(InputError, match=message):
        config(command=command)


def test_braces_of_the_shell_are_left_alone():
    command = COMMAND + " ${HOME} | awk '{print $1}' | sort -k{1,2}"
    assert config(command=command).detector.command == command


def test_a_proxy_is_no_command():
    with pytest.raises(InputError, match=r"detector\.proxy: external is not trained by MGRAL"):
        config(proxy={"name": "external", "command": COMMAND})


def test_what_the_pipeline_knows_of_a_detector_is_known_of_the_proxy():
    """Each property that a detector may have, also one that is added later."""
    proxy = {"name": "ssd300_vgg16", "cache": "encoded"}
    section, alone = config(proxy=proxy).detector, resolve_config({"detector": proxy}).detector
    own = {"command_gives", "trained"}
    names = [name for name, value in vars(DetectorConfig).items() if isinstance(value, property)]
    assert set(names) > own
    assert {name: getattr(section, name) for name in names if name not in own} == {
        name: getattr(alone, name) for name in names if name not in own
    }


def test_what_is_derived_from_the_data_is_the_proxys():
    """Unless it is named the proxy is the detector of real data, or of synthetic ones."""
    image = {"width": 640, "height": 480}
    coco = {
        "images": [{"id": id_, "file_name": f"{id_}.png", **image} for id_ in range(3)],
        "annotations": [{"image_id": 0, "category_id": 1, "bbox": [10, 10, 100, 60]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    data, common = as_dataset(coco), {"data": {"format": "coco", "root": "set"}, "strategies": ("random",)}
    section = {"name": "external", "command": COMMAND}
    derived, alone = (
        derive_settings(resolve_config(given), data, data, np.array([0, 1]))
        for given in ({**common, "detector": section}, common)
    )
    assert alone.detector.width is not None
    assert derived.detector.proxy == alone.detector
    assert derived.detector.command == COMMAND
    assert (derived.iterations, derived.training) == (alone.iterations, alone.training)
    assert config().detector.proxy == resolve_config({}).detector


def test_the_network_is_the_proxys():
    proxy = {"name": "small_ssd", "channels": 4, "width": 64, "height": 64}
    state = build_detector(config(proxy=proxy).detector, 2, seed=3).state_dict()
    alone = build_detector(resolve_config({"detector": proxy}).detector, 2, seed=3).state_dict()
    assert list(state) == list(alone)
    assert all((state[name] == alone[name]).all() for name in state)


def test_a_proxy_reruns_what_it_is_trained_for_and_a_command_what_it_finds():
    first, command, proxy = config(), config(command=COMMAND + " -v"), config(proxy={"channels": 8})
    strategy = {"strategy": "random"}
    of_proxy = {"cache", "detector", "embed", "pseudo_labels", "base", "variant", "evaluate"}
    changed = {"command": {"external"}, "proxy": of_proxy}
    for name, other in {"command": command, "proxy": proxy}.items():
        steps = {step for step in (*of_proxy, "external") if depends_on(first, step) != depends_on(other, step)}
        assert steps == changed[name]
        assert depends_on(first, "select", strategy) == depends_on(other, "select", strategy)
    assert keys_in_file(first, "base", {}) == ["detector.proxy", "training", "iterations.base"]
    assert keys_in_file(first, "external", {}) == ["detector.command", "detector.container", "detector.gives"]


def test_it_is_written_whole_and_described_for_editors():
    written = config_yaml(config()).decode()
    assert "  proxy:\n    name: small_ssd\n" in written
    assert resolve_config({}).detector.command_gives is None
    schema = config_schema()
    proxies = schema["$defs"]["ExternalConfig"]["properties"]["proxy"]["oneOf"]
    names = [one["properties"]["name"]["const"] for one in proxies]
    assert names == [name for name in detectors() if name != "external"]
