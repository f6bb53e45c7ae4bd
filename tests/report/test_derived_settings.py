"""What the report shows of settings that were derived from the data."""

import json
from types import SimpleNamespace

from fabricated_results import fabricate

from mgral.config import load_config, resolve_config
from mgral.report.facts import experiment_line, facts
from mgral.report.results import load_results


def test_the_report_shows_what_each_seed_derived(tmp_path):
    path = fabricate(tmp_path)
    path.write_text(path.read_text().replace("  detector: 300\n", "  detector: null\n"))
    for seed, iterations in ((0, 150), (1, 170)):
        content = {"detector": {}, "iterations": {"detector": iterations, "base": 1, "variant": 1}}
        (tmp_path / f"seed{seed}" / "derived.json").write_text(json.dumps(content))
    shown = dict(facts(load_results(tmp_path, load_config(path))))
    assert shown["Training"].startswith("150 or 170 iterations of 16 images")
    assert "input size: 32 x 32 pixels (set; the median training image is 64 x 64)" in shown["Seed 1, derived or set"]
    assert "iterations: detector 170 (derived), base 200 (set)" in shown["Seed 1, derived or set"]
    assert "detector 150 (derived)" in shown["Seed 0, derived or set"]


def test_nothing_is_shown_where_all_is_set(tmp_path):
    shown = dict(facts(load_results(tmp_path, load_config(fabricate(tmp_path)))))
    assert not [name for name in shown if "derived" in name]
    assert shown["Training"].startswith("300 iterations")


def test_a_detector_of_the_users_own_is_named_first():
    command = "run {train} {test} {output}"
    own = {"name": "external", "command": command, "proxy": {"name": "small_ssd"}}
    for detector, words in (({"name": "small_ssd"}, "small_ssd"), (own, "a detector of your own")):
        config = resolve_config({"detector": detector, "strategies": ["random"], "seeds": [3]})
        shown = experiment_line(SimpleNamespace(config=config))
        assert shown == f"1 strategy · 1 seed · 40 + 3 × 40 images · synthetic scenes, seed 0 · {words}"
