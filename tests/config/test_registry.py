"""The registry of strategies: what is known without importing, and plug-ins of other packages."""

import subprocess
import sys

import pytest
from installing import install
from run_workflow import ROOT

from mgral.config import detectors, registry, resolve_config
from mgral.errors import InputError

PLUG_IN = ROOT / "examples" / "plugin_strategy" / "mgral_brightness.py"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a module as a plug-in."""
    monkeypatch.syspath_prepend(tmp_path)
    registry._declared.cache_clear()
    detectors.entry_points.cache_clear()

    yield lambda name, code, entry: install(tmp_path, name, code, "mgral.strategies", f"{entry} = {name}")
    registry._declared.cache_clear()
    detectors.entry_points.cache_clear()


def test_a_configuration_is_read_without_torch():
    code = "import sys, mgral.config as c; c.resolve_config({'strategies': 'all'}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_read_from_the_source_is_what_registers():
    for name, info in registry._declared().items():
        registry.strategy_function(name)
        assert registry._infos[name] == info


def test_a_plug_in_is_a_strategy_as_any_other(installed):
    installed("brightness_of_a_test", PLUG_IN.read_text(), "brightness")
    info = registry.strategy("brightness")
    assert (info.requires, info.runs_detector, info.files) == (("detections",), True, ("images", "detector"))
    assert "brightness_of_a_test" not in sys.modules
    assert (
        resolve_config({"strategies": {"bright": {"type": "brightness"}}}).strategies["bright"].type == "brightness"
    )
    assert registry.plug_ins()["brightness_of_a_test"] == "1.0"
    assert registry.strategy_function("brightness").__module__ == "brightness_of_a_test"
    del registry._functions["brightness"], registry._infos["brightness"]


def test_the_code_of_a_plug_in_is_known_by_its_bytes_and_not_run(installed, tmp_path):
    installed("edited_plug_in", plug_in("edited", "views=1"), "edited")
    (tmp_path / "edited_folder").mkdir()
    helper = tmp_path / "edited_folder" / "helper.py"
    (tmp_path / "edited_folder" / "__init__.py").touch()
    helper.write_text("A = 1\n")
    install(tmp_path, "beside", "", "mgral.detectors", "in_folder = edited_folder.no_such_module")

    def found():
        detectors._code_digest.cache_clear()
        names = ("mgral.strategies", "edited"), ("mgral.detectors", "in_folder")
        return [detectors.package_of(*one) for one in names]

    before = found()
    assert [one.rpartition(" ")[0] for one in before] == ["edited_plug_in 1.0", "beside 1.0"]
    assert found() == before
    (tmp_path / "edited_plug_in.py").write_text(plug_in("edited", "views=2"))
    helper.write_text("A = 2\n")
    assert not set(found()) & set(before)
    assert detectors.package_of("mgral.strategies", "random") is None
    assert "edited_plug_in" not in sys.modules


def test_computed_arguments_are_found_by_importing(installed):
    lines = ["from mgral.config.registry import register", "NAME = 'comp' + 'uted'", "@register(NAME, 'x')"]
    code = "\n".join([*lines, "def choose(query): ..."])
    installed("computed_plug_in", code, "computed")
    assert registry.strategy("computed").module == "computed_plug_in"
    del registry._functions["computed"], registry._infos["computed"]


@pytest.mark.parametrize(
    ("code", "entry", "message"),
    [
        ("", "nothing", "it registers nothing and not nothing; correct the entry point mgral.strategies"),
        (
            "from mgral.config.registry import register\n\n\n@register('random', 'x')\ndef choose(query): ...\n",
            "random",
            "there is a strategy random already; rename it",
        ),
    ],
)
def test_a_faulty_plug_in_is_named(installed, code, entry, message):
    installed(f"faulty_{entry}", code, entry)
    with pytest.raises(InputError, match=message):
        registry.strategies()


def test_a_head_of_a_strategy_is_found_by_importing_its_module(installed):
    lines = ["from mgral.config.registry import register, register_head", "def build(*given): return 'a head'"]
    lines += ["register_head('headed', build, loss=None)"]
    lines += ["@register('headed', 'x', requires=('dense', 'head'))", "def choose(query): ..."]
    installed("headed_plug_in", "\n".join(lines), "headed")
    assert registry.strategy("headed").files == ("images", "detector", "head")
    assert "headed_plug_in" not in sys.modules
    assert registry.strategy_head("headed").build() == "a head"
    del registry._functions["headed"], registry._infos["headed"], registry._heads["headed"]


def test_a_requirement_that_there_is_not_is_an_error():
    with pytest.raises(ValueError, match=r"strategy x requires \['luck'\]; there are detections, dense"):
        registry.register("x", "y", requires=("luck",))
    with pytest.raises(ValueError, match="strategy x requires a head without `dense`"):
        registry.register("x", "y", requires=("detections", "head"))


def plug_in(name, arguments):
    lines = ["from mgral.config.registry import register", f"@register('{name}', 'x', {arguments})"]
    return "\n".join([*lines, "def choose(query): ..."])


def test_a_plug_in_that_sets_what_no_strategy_may_is_named(installed):
    installed("sets_too_much", plug_in("greedy_of_it", "settings={'evaluation': {'nms_iou': 0.3}}"), "greedy_of_it")
    with pytest.raises(InputError, match=r"greedy_of_it sets evaluation in its @register, .*; correct sets_too_much"):
        resolve_config({"strategies": ["greedy_of_it", "random"]})


def test_a_plug_in_may_have_a_name_that_a_strategy_had_before(installed):
    installed("real_mi_aod", plug_in("mi_aod", "requires=('dense',)"), "mi_aod")
    assert registry.strategy("mi_aod").module == "real_mi_aod"
