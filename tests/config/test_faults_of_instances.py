"""Faults of strategies whose names mean something else elsewhere."""

import pytest

from mgral.config import resolve_config
from mgral.errors import InputError


def test_a_strategy_with_the_name_of_a_format_is_named():
    strategies = {"coco": {"type": "mgral", "lut": {"x": 1}}}
    with pytest.raises(InputError, match=r"strategies\.coco\.lut\.x: unknown key"):
        resolve_config({"strategies": strategies})


def test_a_key_of_the_data_is_named_without_its_format():
    with pytest.raises(InputError, match=r" data\.x: unknown key"):
        resolve_config({"data": {"format": "coco", "root": "r", "x": 1}})


def test_the_cycle_of_fidelity_is_one_of_the_experiment():
    with pytest.raises(InputError, match=r"fidelity\.cycle: 3 is above cycles, 2; lower it"):
        resolve_config({"cycles": 2, "fidelity": {"cycle": 3}})


def test_an_agent_that_sees_its_batch_needs_a_strategy_with_tables():
    own = {
        "type": "paper",
        "agent": {"policy": "batch"},
        "reward": {"estimator": "regression", "distance": "by_class"},
    }
    with pytest.raises(InputError, match=r"agent\.policy: batch \(of own\) needs the lookup tables"):
        resolve_config({"strategies": {"own": own}})
