"""The contact sheet: every picture in the order of its rank, its boxes where they are, and nothing from elsewhere."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from labelling_files import batch, drawn, found_box, task
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from mgral.config import PictureSettings
from mgral.labelling.records import Batch
from mgral.labelling.results import class_results
from mgral.labelling.sheet import LONGEST_SIDE, MOST_BYTES, MOST_TAGGED, contact_sheet, thumbnails

ODD = ['50% #1 & "two".jpg', "<script>alert(1).jpg", "naïve 図.jpg", "it's.jpg"]
VOID = {"meta", "br", "wbr", "image", "rect", "img", "input"}
ADDRESSES = ("href", "src", "srcset", "xlink:href", "action", "poster", "data")


class Page(HTMLParser):
    """Collects elements and texts, and notes what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.elements.append((tag, values))
        if tag not in VOID:
            self.open.append((tag, values.get("class") or tag))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if data.strip() and self.open:
            self.texts.append((self.open[-1][1], " ".join(data.split())))

    def of(self, kind: str) -> list[str]:
        """Return the texts in elements of a class, or of a tag."""
        return [text for where, text in self.texts if where == kind]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [values for name, values in self.elements if name == tag]


def page(sent: Batch, **options) -> Page:
    found = Page(
        contact_sheet(sent, ["chosen by <b>entropy</b>"], thumbnails(sent.tasks, PictureSettings()), **options)
    )
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Batch:
    """Four pictures with odd names, in the order of their ranks from the last to the first."""
    tasks = [
        task(number, [found_box(64, 48, 320, 240, "big truck")], rank=9 - number, name=name)
        for number, name in enumerate(ODD, start=1)
    ]
    return drawn(tmp_path_factory.mktemp("pictures"), *tasks)


def test_every_picture_in_the_order_of_ranks(odd):
    found = page(odd)
    assert found.of("h1") == ["4 pictures to label"]
    assert found.of("rank") == ["5", "6", "7", "8"]
    assert [name for name in found.of("file") if name != "×4" and name != "×0"] == ODD[::-1]
    pictures = [Image.open(io.BytesIO(base64.b64decode(one["href"].split(",")[1]))) for one in found.all("image")]
    assert [round(one.getpixel((5, 5))[0], -1) for one in pictures] == [40, 30, 20, 10]
    assert [one.size for one in pictures] == [(LONGEST_SIDE, LONGEST_SIDE * 3 // 4)] * 4


def test_names_are_text_and_never_markup(odd):
    found = page(odd, person="<i>me</i>")
    assert not found.all("script")
    assert not found.all("b")
    assert not found.all("i")
    assert found.of("kicker") == ["cars & trucks · round 2 · <i>me</i>"]
    assert found.of("title")[0] == "cars & trucks, round 2"


def test_no_network_is_needed(odd):
    found = page(odd)
    for tag, values in found.elements:
        for key in ADDRESSES:
            assert (values.get(key) or "data:").startswith("data:"), (tag, key)
    assert not {tag for tag, _ in found.elements} & {"link", "script", "iframe", "object", "embed"}
    assert not re.findall(r"url\(|@import", " ".join(found.of("style")))


def test_boxes_are_where_they_were_found(odd):
    found = page(odd)
    assert {one["viewbox"] for one in found.all("svg")} == {"0 0 640 480"}
    sides = {tuple(float(one[key]) for key in ("x", "y", "width", "height")) for one in found.all("rect")}
    assert sides == {(64, 48, 320, 240)}
    tags = [
        values["style"] for tag, values in found.elements if tag == "span" and "tag" in (values.get("class") or "")
    ]
    assert len(tags) == 4
    assert all("left: min(10.0%" in one and "top: 10.0%" in one for one in tags)
    assert "big truck ×1" in " ".join(found.of("item"))


def test_what_there_is_to_know_of_a_picture(tmp_path):
    sent = drawn(
        tmp_path,
        task(1, [found_box(1, 1, 9, 9, score=0.856)], score=0.12345, reason="unsure & rare"),
        task(2, score=None, groups=("audit",), reason="drawn at random"),
    )
    found = page(sent)
    assert found.of("note") == ["unsure & rare · score 0.123", "drawn at random", "no boxes proposed"]
    assert found.of("tag") == ["0.86"]
    assert found.of("chip") == ["audit", "audit"]
    assert any(text.startswith("1 of the pictures; audit set: drawn at random") for text in found.of("li"))
    assert {one["aria-label"] for one in found.all("svg")} == {"p1.jpg: car 1", "p2.jpg: no boxes proposed"}


def test_scores_of_many_boxes_do_not_hide_the_picture(tmp_path):
    many = [found_box(10 * n, 10, 9, 9) for n in range(MOST_TAGGED + 1)]
    found = page(drawn(tmp_path, task(1, many)))
    assert found.of("tag") == []
    assert found.of("title")[1:] == ["car 0.80"] * len(many)


def test_a_picture_that_cannot_be_opened_leaves_a_card(tmp_path):
    sent = drawn(tmp_path, task(1), task(2), task(3))
    sent.tasks[0].path.write_bytes(b"no picture")
    sent.tasks[1].path.unlink()
    other = replace(sent, tasks=(*sent.tasks[:2], replace(sent.tasks[2], width=641)))
    found = page(other)
    assert found.of("rank") == ["1", "2", "3"]
    assert found.of("unopened") == ["cannot be opened"] * 3
    assert found.of("oracle")[0].startswith("3 pictures could not be opened")


def test_pictures_are_upright_and_small(tmp_path):
    noise = Image.effect_noise((900, 600), 100).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    noise.save(tmp_path / "a.jpg", exif=exif, quality=95)
    turned = task(1, path=tmp_path / "a.jpg", width=600, height=900)
    source = thumbnails([turned], PictureSettings())[1]
    content = base64.b64decode(source.split(",")[1])
    assert len(content) <= MOST_BYTES
    assert Image.open(io.BytesIO(content)).size == (round(LONGEST_SIDE * 2 / 3), LONGEST_SIDE)


def test_large_jpeg_is_decoded_in_part_and_looks_the_same(tmp_path, monkeypatch):
    """To a quarter of 3400 x 1700 pixels, whose shorter side then has 425; upright."""
    across, down = np.meshgrid(np.linspace(0, 255, 3400), np.linspace(0, 255, 1700))
    picture = Image.fromarray(np.stack([across, down, 255 - across], 2).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    decoded = []
    load = JpegImageFile.load
    monkeypatch.setattr(JpegImageFile, "load", lambda own: (decoded.append(own.size), load(own))[1])
    source = thumbnails([task(1, path=tmp_path / "a.jpg", width=1700, height=3400)], PictureSettings())[1]
    assert set(decoded) == {(850, 425)}
    found = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB")
    expected = picture.transpose(Image.Transpose.ROTATE_270).resize(found.size)
    assert found.size == (208, 416)
    assert np.abs(np.asarray(found, np.float32) - np.asarray(expected, np.float32)).mean() < 2


def test_what_the_detector_can_do(tmp_path):
    metrics = {"per_class": [{"name": "car", "map": 0.4567}, {"name": "big truck", "map": 0.9}]}
    rows = class_results(metrics, {"car": 12, "big truck": 3})
    found = page(drawn(tmp_path, task(1)), results=rows)
    assert found.of("td") == ["45.7", "too few boxes (3 of 10)"]
    assert {"car", "big truck"} < set(found.of("th"))
    assert page(drawn(tmp_path, task(1))).all("table") == []


def test_a_batch_of_nothing(tmp_path):
    assert page(batch()).of("h1") == ["0 pictures to label"]
