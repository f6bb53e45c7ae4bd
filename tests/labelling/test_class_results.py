"""What a detector can do, class by class: no score where there are too few boxes."""

from mgral.labelling.results import class_results, result_lines

METRICS = {"per_class": [{"name": "car", "map": 0.4567}, {"name": "bus", "map": 0.9}, {"name": "tram", "map": None}]}


def test_scores_of_classes_with_enough_boxes():
    rows = class_results(METRICS, {"bus": 9, "car": 10, "new": 30, "tram": 0})
    assert [(row.name, row.boxes, row.ap, row.ap_text) for row in rows] == [
        ("bus", 9, None, "too few boxes (9 of 10)"),
        ("car", 10, 0.4567, "45.7"),
        ("new", 30, None, "-"),  # of a class that the detector does not know
        ("tram", 0, None, "too few boxes (0 of 10)"),
    ]


def test_lines_for_a_terminal():
    assert result_lines(class_results(METRICS, {"car": 123, "bus": 9})) == [
        "class  boxes  AP in %",
        "car      123  45.7",
        "bus        9  too few boxes (9 of 10)",
    ]
