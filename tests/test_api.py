"""`import mgral`: what it offers, and its example, which docs/api.md includes."""

import runpy
import subprocess
import sys

import pytest
from run_workflow import ROOT

import mgral
from mgral.config import SyntheticData
from mgral.data.synthetic import write_synthetic


def test_every_name_is_there_and_documented():
    page = (ROOT / "docs" / "api.md").read_text()
    for name in mgral.__all__:
        assert callable(getattr(mgral, name))
        assert getattr(mgral, name).__doc__
        assert name in page
    assert set(mgral.__all__) == set(mgral._PLACES) <= set(dir(mgral))
    with pytest.raises(AttributeError, match="module 'mgral' has no attribute 'nothing'"):
        _ = mgral.nothing


def test_importing_it_and_reading_a_configuration_do_not_import_torch():
    program = "import sys, mgral; mgral.Config(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_synthetic(SyntheticData(train_images=32, test_images=8), tmp_path / "my_data")
    monkeypatch.setattr(sys, "argv", ["one_round.py", "my_data"])
    names = runpy.run_path(str(ROOT / "examples" / "api" / "one_round.py"))
    chosen, other, table = names["chosen"], names["other"], names["table"]
    for one in (chosen, other):
        assert len(set(one.images.tolist())) == 4
        assert set(one.images.tolist()) <= set(names["pool"].tolist())
    assert chosen.images.tolist() != other.images.tolist()
    assert len(names["labelled"]) == 16
    assert table.reward([names["pool"][:4], names["pool"][4:8]]).shape == (2,)
    assert len(names["losses"]) == 20
    assert len(names["episodes"]) == 5
    assert "mAP" in capsys.readouterr().out
