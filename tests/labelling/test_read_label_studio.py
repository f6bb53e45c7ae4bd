"""Label Studio's JSON: the states of tasks, shapes, people, and what is refused."""

import math
from pathlib import Path

import pytest
from labelling_files import annotation, boxes, faults, read_tasks, read_text, region, repairs, states

from mgral.data.findings import Finding
from mgral.labelling.exchange import label_studio, reading

CAR = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
"""64, 96, 192 x 192 pixels of 640 x 480."""
PREDICTION = {"model_version": "round1", "score": 0.4, "result": [region(CAR)]}


def image(name: str) -> dict[str, object]:
    return {"data": {"image": f"/data/local-files/?d=imgs/{name}"}}


def test_each_state_is_told_and_predictions_are_never_labels(tmp_path: Path) -> None:
    found = read_tasks(
        tmp_path,
        image("untouched.jpg") | {"annotations": [], "drafts": [], "predictions": [PREDICTION]},
        image("draft.jpg") | {"annotations": [], "drafts": [{"user": "a@b.c", "result": [region(CAR)]}]},
        image("skipped.jpg") | {"annotations": [annotation(region(CAR), was_cancelled=True)]},
        image("empty.jpg") | {"annotations": [annotation()], "predictions": [PREDICTION]},
        image("labelled.jpg") | {"annotations": [annotation(region(CAR))]},
    )
    names = ["untouched", "draft", "skipped", "empty", "labelled"]
    assert states(found) == {f"imgs/{name}.jpg": name for name in names}
    assert boxes(found) == [(64, 96, 192, 192, "car")]
    assert (found.format, found.classes, found.findings.faults) == ("label_studio", ("car",), {})


def test_who_when_and_how_long_are_kept(tmp_path: Path) -> None:
    people = [7, "a@b.c", {"id": 3, "email": "d@e.f", "first_name": ""}, {"id": 4, "email": ""}]
    given = [annotation(region(CAR), completed_by=who, lead_time=12.5) for who in people]
    given[0] |= {"updated_at": "2026-11-28T12:00:00+02:00", "lead_time": None}
    found = read_tasks(tmp_path, {"annotations": given})
    assert [one.by for one in found.labels] == ["7", "a@b.c", "d@e.f", "4"]
    assert [one.at for one in found.labels[:2]] == ["2026-11-28T10:00:00+00:00", "2026-11-28T10:00:00.500000+00:00"]
    assert [one.seconds for one in found.labels] == [None, 12.5, 12.5, 12.5]
    assert found.labels[0].size == (640, 480)


def test_a_negative_time_is_none_in_annotations_and_drafts(tmp_path: Path) -> None:
    draft = {"user": 2, "lead_time": -3.5, "result": [], "annotation": None}
    found = read_tasks(
        tmp_path,
        {
            "annotations": [annotation(region(CAR), lead_time=-0.5)],
            "drafts": [draft, draft | {"user": 3, "lead_time": 4}],
        },
    )
    assert [(one.state, one.seconds) for one in found.labels] == [("labelled", None), ("draft", None), ("draft", 4)]


def test_of_one_persons_annotations_the_latest_counts_also_over_tasks_that_are_there_twice(tmp_path: Path) -> None:
    first = annotation(region(CAR), updated_at="2026-11-28T11:00:00Z")
    earlier = annotation(updated_at="2026-11-28T10:59:59Z")
    found = read_tasks(tmp_path, {"annotations": [first, earlier]}, {"annotations": [earlier]}, {"annotations": []})
    assert [(one.by, one.state) for one in found.labels] == [("1", "labelled")]
    both = read_tasks(tmp_path, {"annotations": [first, earlier | {"completed_by": 2}]})
    assert [(one.by, one.state) for one in both.labels] == [("1", "labelled"), ("2", "empty")]
    nameless = read_tasks(
        tmp_path, {"annotations": [first | {"completed_by": None}, earlier | {"completed_by": None}]}
    )
    assert [one.by for one in nameless.labels] == ["", ""]


def test_a_draft_never_replaces_what_was_submitted(tmp_path: Path) -> None:
    draft = {"user": 1, "updated_at": "2026-11-29T00:00:00Z", "result": [], "annotation": None}
    found = read_tasks(tmp_path, {"annotations": [annotation(region(CAR))], "drafts": [draft]})
    assert [one.state for one in found.labels] == ["labelled"]
    changed = read_tasks(tmp_path, {"annotations": [annotation(region(CAR))], "drafts": [draft | {"annotation": 5}]})
    assert [one.state for one in changed.labels] == ["labelled"]
    assert repairs(changed) == {label_studio.BEGUN_AGAIN.title: 1}
    assert [one.state for one in read_tasks(tmp_path, {"annotations": [], "drafts": [17]}).labels] == ["draft"]


def test_the_reason_of_a_skip_comes_from_comments_texts_and_choices(tmp_path: Path) -> None:
    why = {"type": "choices", "value": {"choices": ["too dark"]}}
    skip = annotation(why, was_cancelled=True, comments=[{"text": "cannot see it"}])
    assert [one.reason for one in read_tasks(tmp_path, {"annotations": [skip]}).labels] == ["cannot see it; too dark"]


def test_our_ids_are_read_and_one_project_only(tmp_path: Path) -> None:
    data = {"image": "s3://bucket/imgs/a b.jpg", "mgral_id": 17, "mgral_project": "one"}
    found = read_tasks(tmp_path, {"data": data})
    assert (found.project, found.labels[0].image, found.labels[0].file) == ("one", 17, "imgs/a b.jpg")
    two = read_tasks(tmp_path, {"data": data}, {"data": data | {"mgral_project": "two"}})
    assert faults(two) == {label_studio.SEVERAL_PROJECTS.title: 1}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/data/local-files/?d=imgs/a%20b.jpg", "imgs/a b.jpg"),
        ("/data/upload/3/1a2b3c4d-a.jpg", "data/upload/3/1a2b3c4d-a.jpg"),
        ("http://host:80/pics/a%23.jpg?v=1", "pics/a#.jpg"),
        ("gs://bucket/pics/a%20b.jpg", "pics/a%20b.jpg"),
        ("pics/a.jpg", "pics/a.jpg"),
    ],
)
def test_a_picture_is_named_without_its_server(tmp_path: Path, given: str, expected: str) -> None:
    assert read_tasks(tmp_path, {"data": {"image": given}}).labels[0].file == expected
    assert read_tasks(tmp_path, {"data": {"img": given, "title": "x"}}).labels[0].file == expected


SHAPES = {
    # About its corner at (320, 240), by 90 degrees clockwise: what lay to the right lies below.
    "turned": (region({"x": 50, "y": 50, "width": 10, "height": 10, "rotation": 90}), (272, 240, 48, 64)),
    "polygon": (region({"points": [[10, 10], [20, 30], [15, 50]]}, "polygonlabels"), (64, 48, 64, 192)),
    # Radii of 64 and 48 pixels; turned by 90 degrees they change places.
    "ellipse": (
        region({"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 90}, "ellipselabels"),
        (320 - 48, 240 - 64, 96, 128),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_box_around_a_shape_is_used_with_a_line_or_the_shape_is_refused(tmp_path: Path, name: str) -> None:
    given, expected = SHAPES[name]
    found = read_tasks(tmp_path, {"annotations": [annotation(given)]})
    assert boxes(found) == [(*expected, "car")]
    assert repairs(found) == {reading.ENVELOPES.title: 1}
    refused = read_tasks(tmp_path, {"annotations": [annotation(given)]}, shapes="refuse")
    assert faults(refused) == {reading.SHAPES_REFUSED.title: 1}


def test_a_box_turned_by_any_angle_is_within_its_envelope(tmp_path: Path) -> None:
    given = region({"x": 50, "y": 50, "width": 10, "height": 10, "rotation": 30})
    half, root = 0.5, math.sqrt(3) / 2
    expected = (320 - 48 * half, 240, 64 * root + 48 * half, 64 * half + 48 * root, "car")
    assert boxes(read_tasks(tmp_path, {"annotations": [annotation(given)]})) == [
        tuple(round(value, 6) if isinstance(value, float) else value for value in expected)
    ]


def packed(*values: tuple[int, int]) -> list[int]:
    """Pack numbers of a count of bits each, as Label Studio's brush does."""
    bits = "".join(f"{value:0{count}b}" for value, count in values)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def test_the_box_around_what_a_brush_painted(tmp_path: Path) -> None:
    # 4 x 3 pixels: (1, 1) and (2, 1) are painted, which are the numbers 20 to 27 of 48.
    head = [(48, 32), (7, 5), (3, 4), (7, 4), (11, 4), (15, 4)]
    runs = [(1, 1), (1, 2), (19, 8), (0, 8), (0, 1), (0, 2), (7, 4), *[(255, 8)] * 8, (1, 1), (1, 2), (19, 8), (0, 8)]
    value = {"format": "rle", "rle": packed(*head, *runs), "brushlabels": ["car"]}
    small = {"original_width": 4, "original_height": 3}
    found = read_tasks(tmp_path, {"annotations": [annotation(region(value, "brushlabels", **small))]})
    assert boxes(found) == [(1, 1, 2, 1, "car")]
    cut = value | {"rle": value["rle"][:9]}
    damaged = read_tasks(tmp_path, {"annotations": [annotation(region(cut, "brushlabels", **small))]})
    assert faults(damaged) == {reading.NO_BOX.title: 1}


def test_a_region_in_two_parts_is_one_box(tmp_path: Path) -> None:
    parts = [
        {"id": "r", "type": "rectangle", **region(CAR), "value": CAR},
        {
            "id": "r",
            "type": "labels",
            "value": CAR | {"labels": ["van"]},
            "original_width": 640,
            "original_height": 480,
        },
    ]
    assert boxes(read_tasks(tmp_path, {"annotations": [annotation(*parts)]})) == [(64, 96, 192, 192, "van")]


def test_regions_in_several_places_are_several_boxes_although_all_have_one_id(tmp_path: Path) -> None:
    regions = [region(CAR, id="r"), region(CAR | {"x": 50, "rectanglelabels": ["van"]}, id="r")]
    found = read_tasks(tmp_path, {"annotations": [annotation(*regions)]})
    assert boxes(found) == [(64, 96, 192, 192, "car"), (320, 96, 192, 192, "van")]
    assert found.findings.faults == {}


FAULTY = {
    "no class": (region(CAR | {"rectanglelabels": []}), reading.NO_CLASS),
    "two classes": (region(CAR | {"rectanglelabels": ["car", "van"]}), reading.SEVERAL_CLASSES),
    "no number": (region(CAR | {"x": math.nan}), reading.NO_NUMBERS),
    "negative": (region(CAR | {"width": -3}), reading.NO_NUMBERS),
    "outside": (region(CAR | {"x": 150}), reading.OUTSIDE),
    "a point": (region({"x": 1, "y": 1, "width": 0.5, "keypointlabels": ["car"]}, "keypointlabels"), reading.NO_BOX),
    "a turned picture": (region(CAR) | {"image_rotation": 90}, label_studio.TURNED_PICTURE),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_region_is_a_fault(tmp_path: Path, name: str) -> None:
    given, kind = FAULTY[name]
    found = read_tasks(tmp_path, {"annotations": [annotation(given, region(CAR))]})
    assert faults(found) == {kind.title: 1}
    assert found.findings.faults[kind][0].startswith(
        f"{tmp_path / 'export.json'}: task at place 0 (imgs/a.jpg), by 1"
    )


def test_harmless_oddities_are_counted(tmp_path: Path) -> None:
    odd = [
        region(CAR | {"x": 90}),  # 192 pixels from 576 on, of 640
        region(CAR | {"width": 0}),
        region(CAR),
        region(CAR),
        {"type": "choices", "value": {"choices": ["sunny"]}},
    ]
    found = read_tasks(tmp_path, {"annotations": [annotation(*odd)]})
    assert boxes(found) == [(576, 96, 64, 192, "car"), (64, 96, 192, 192, "car")]
    expected: list[Finding] = [reading.CUT, reading.NO_AREA, reading.DUPLICATES, reading.OTHER_ANSWERS]
    assert repairs(found) == {kind.title: 1 for kind in expected}
    assert found.findings.faults == {}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('[{"image": "a.jpg", "annotation_id": 3, "label": []}]', label_studio.JSON_MIN),
        ('[{"data": {"title": "x"}}]', reading.NO_PICTURE),
        ('[{"data": {"image": "http://[server/a.jpg"}}]', reading.NO_PICTURE),
        ('[{"data": {"image": "data:image/png;base64,AAAA"}}]', reading.NO_PICTURE),
        ('[{"image_id": 3, "score": 0.5}]', reading.NO_PICTURE),
        ('[{"data": {"image": "a.jpg"}}, {"data"', reading.UNREADABLE),
        ("[" * 100_000, reading.UNREADABLE),
        ("[1, 2]", reading.NOT_ALL),
    ],
)
def test_a_file_that_is_no_whole_export_is_a_fault(tmp_path: Path, text: str, kind: Finding) -> None:
    assert faults(read_text(tmp_path, "export.json", text)) == {kind.title: 1}


def test_all_faults_are_found_in_one_pass(tmp_path: Path) -> None:
    tasks = [{"annotations": [annotation(given)]} for given, _ in FAULTY.values()]
    assert sum(faults(read_tasks(tmp_path, *tasks, {"data": {}})).values()) == len(FAULTY) + 1
