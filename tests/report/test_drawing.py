"""Labels of ticks say where the tick is."""

import pytest

from mgral.report.drawing import percent_tick, signed_percent_tick


@pytest.mark.parametrize(
    ("value", "label", "signed"),
    [
        (0.4275, "42.75", "+42.75"),
        (0.35, "35", "+35"),
        (-0.00125, "−0.125", "−0.125"),
        (1.4e-17, "0", "0"),
        (-1.4e-17, "0", "0"),
        (0.1 + 0.2, "30", "+30"),
    ],
)
def test_a_label_has_all_digits_of_its_tick(value, label, signed):
    assert percent_tick(value, 0) == label
    assert signed_percent_tick(value, 0) == signed
