"""The reader of PASCAL VOC folders."""

from pathlib import Path

import pytest
from PIL import Image

from mgral.config import VocData, resolve_config
from mgral.data.findings import Finding, Findings
from mgral.data.formats.voc import read_voc
from mgral.data.read import read_splits
from mgral.data.records import Split
from mgral.errors import InputError

OBJECT = """
 <object><name>{name}</name><difficult>{difficult}</difficult>
  <bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"""


def write_xml(root: Path, stem: str, *objects: tuple[str, tuple[float, ...]], difficult: int = 0) -> Path:
    path = root / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(exist_ok=True)
    content = "".join(OBJECT.format(name=name, box=box, difficult=difficult) for name, box in objects)
    path.write_text(
        f"<annotation><filename>{stem}.jpg</filename><size><width>20</width><height>10</height></size>"
        f"{content}</annotation>"
    )
    return path


def read(root: Path, findings: Findings | None = None, **settings: object) -> tuple[Split, Split]:
    """Read a folder; faults are raised unless they are to be collected."""
    given = {"format": "voc", "root": str(root), "classes": ["ant", "bee", "zebra"], **settings}
    data = resolve_config({"data": given}).data
    assert isinstance(data, VocData)
    found = findings or Findings()
    splits = read_voc(root, data, found)
    if findings is None:
        found.raise_faults()
    return splits


def places(found: dict[Finding, list[str]]) -> dict[str, list[str]]:
    return {kind.title: listed for kind, listed in found.items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_layout(tmp_path)


def write_layout(tmp_path: Path) -> Path:
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("c\na\n\n")
    (lists / "test.txt").write_text("b\n")
    write_xml(tmp_path, "a", ("zebra", (1, 1, 20, 10)), ("ant", (3, 4, 6, 8)))
    write_xml(tmp_path, "b", ("bee", (2, 2, 5, 5)), difficult=1)
    write_xml(tmp_path, "c")
    return tmp_path


def test_ids_follow_sorted_names_over_both_splits(root: Path) -> None:
    train, test = read(root)
    assert [(image["id"], image["file_name"]) for image in train.coco["images"]] == [
        (3, "JPEGImages/c.jpg"),
        (1, "JPEGImages/a.jpg"),
    ]
    assert [image["id"] for image in test.coco["images"]] == [2]
    names = [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}, {"id": 3, "name": "zebra"}]
    assert train.coco["categories"] == test.coco["categories"] == names
    assert [(a["id"], a["image_id"], a["category_id"]) for a in train.coco["annotations"]] == [(1, 1, 3), (2, 1, 1)]


def test_boxes_start_at_zero(root: Path) -> None:
    train, _ = read(root)
    assert [a["bbox"] for a in train.coco["annotations"]] == [[0, 0, 19, 9], [2, 3, 3, 4]]


@pytest.mark.parametrize(("train_counts", "test_counts"), [(False, False), (True, False), (False, True)])
def test_difficult_objects_are_crowds_unless_they_count(root: Path, train_counts: bool, test_counts: bool) -> None:
    write_xml(root, "a", ("ant", (3, 4, 6, 8)), difficult=1)
    write_xml(root, "c", ("ant", (3, 4, 6, 8)))
    splits = read(root, train_difficult=train_counts, test_difficult=test_counts)
    train, test = ([(a["difficult"], a["iscrowd"]) for a in split.coco["annotations"]] for split in splits)
    assert train == [(0, 0), (1, int(not train_counts))]
    assert test == [(1, int(not test_counts))]


def test_several_years_are_read_as_one(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        write_layout(tmp_path / year)
    train, test = read(tmp_path, train_split=["VOC2007/trainval", "VOC2012/trainval"], test_split="VOC2007/test")
    assert [(image["id"], image["file_name"]) for image in train.coco["images"]] == [
        (3, "VOC2007/JPEGImages/c.jpg"),
        (1, "VOC2007/JPEGImages/a.jpg"),
        (5, "VOC2012/JPEGImages/c.jpg"),
        (4, "VOC2012/JPEGImages/a.jpg"),
    ]
    assert [(image["id"], image["file_name"]) for image in test.coco["images"]] == [(2, "VOC2007/JPEGImages/b.jpg")]
    assert [a["image_id"] for a in train.coco["annotations"]] == [1, 1, 4, 4]
    assert train.source == " and ".join(
        str(tmp_path / year / "ImageSets/Main/trainval.txt") for year in ("VOC2007", "VOC2012")
    )


def test_an_image_that_is_listed_twice_is_used_once(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").write_text("a")
    findings = Findings()
    train, _ = read(root, findings, train_split=["trainval", "train"])
    assert [image["file_name"] for image in train.coco["images"]] == ["JPEGImages/c.jpg", "JPEGImages/a.jpg"]
    assert places(findings.repairs)["images are listed more than once"] == [f"{root}/ImageSets/Main/train.txt: a"]


@pytest.mark.parametrize("split", ["", "/trainval", "../trainval", "VOC2007/", "VOC2007//trainval", []])
def test_a_split_outside_of_the_root_is_no_split(split: object) -> None:
    with pytest.raises(InputError, match=r"data\.train_split"):
        resolve_config({"data": {"format": "voc", "root": "x", "train_split": split}})


@pytest.mark.parametrize("corners", [(5, 5, 5, 5), (5, 2, 5, 9)])
def test_boxes_of_one_point_or_line_have_no_area(root: Path, corners: tuple[int, ...]) -> None:
    write_xml(root, "a", ("ant", corners))
    box = read(root)[0].coco["annotations"][0]["bbox"]
    assert box[2] == 0


def test_all_faults_are_found_at_once(root: Path) -> None:
    findings = Findings()
    (root / "Annotations/a.xml").write_text("<annotation>")
    (root / "Annotations/b.xml").write_text("<annotation><object><name>ant</name></object></annotation>")
    read(root, findings, train_split=["trainval", "val2"])
    found = places(findings.faults)
    assert found["lists of images cannot be read"] == [f"{root}/ImageSets/Main/val2.txt: No such file or directory"]
    assert "a.xml: it is not XML" in found["annotation files cannot be read"][0]
    assert "b.xml: object 1, ant: the corners - - - -" in found.popitem()[1][0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<name>ant</name>", "", r"a\.xml: object 2 has no <name>"),
        ("<xmin>3</xmin>", "<xmin>nan</xmin>", r"a\.xml: object 2, ant: the corners nan 4 6 8"),
        ("<xmin>3</xmin>", "<xmin>left</xmin>", r"a\.xml: object 2, ant: the corners left 4 6 8"),
        ("<width>20</width>", "<width>20.5</width>", r"a\.xml: the size 20\.5 x 10"),
        ("<width>20</width>", "<width>-20</width>", r"a\.xml: the size -20 x 10"),
        ("<difficult>0", "<difficult>perhaps", r"a\.xml: object 1: perhaps"),
        ("<xmin>3</xmin>", "<xmin>9</xmin>", r"wrong order .*\n.*a\.xml: object 2, ant: 9 4 6 8"),
        ("<width>20</width>", f"<width>{10**30}</width>", r"a\.xml: the size 1000"),
        ("<name>ant</name>", "<name>ant</name><name>bee</name>", r"object 2, ant: more than one <name>"),
        (
            "<annotation>",
            '<annotation xmlns="http://x">',
            r"no VOC annotations .*\n.*a\.xml: <\{http://x\}annotation>",
        ),
        ("<object>", "<Object>", r"a\.xml: it is not XML"),
        ("<annotation>", "<!DOCTYPE a><annotation>", r"a\.xml: it has a document type"),
        (
            "</annotation>",
            "<a>" * 200 + "</a>" * 200 + "</annotation>",
            r"a\.xml: its elements lie more than 100 levels deep",
        ),
        ("<annotation>", '<?xml version="1.0" encoding="klingon"?><annotation>', r"a\.xml: it declares .* klingon"),
    ],
)
def test_faulty_entries_are_named(root: Path, old: str, new: str, message: str) -> None:
    path = root / "Annotations" / "a.xml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        read(root)


def test_an_entity_bomb_is_refused(root: Path) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol"}">' for n in range(12))
    text = f"<!DOCTYPE bomb [{entities}]><annotation><object><name>&e11;</name></object></annotation>"
    (root / "Annotations/a.xml").write_text(text)
    with pytest.raises(InputError, match="remove <!DOCTYPE"):
        read(root)


@pytest.mark.parametrize("encoding", ["gb2312", "gbk", "big5", "utf-16", "utf-8-sig", "iso-8859-1", "shift_jis"])
def test_xml_is_decoded_as_it_declares(root: Path, encoding: str) -> None:
    name = "M\u00fcll" if encoding == "iso-8859-1" else "\u4eba"
    path = root / "Annotations/a.xml"
    text = path.read_text().replace("ant<", f"{name}<")
    declared = encoding.removesuffix("-sig")
    path.write_bytes(f'<?xml version="1.0" encoding="{declared}"?>\n{text}'.encode(encoding))
    train, _ = read(root, classes=[name, "bee", "zebra"])
    assert name in {category["name"] for category in train.coco["categories"]}


def test_an_image_without_xml_is_not_labelled(root: Path) -> None:
    (root / "Annotations/c.xml").unlink()
    train, _ = read(root)
    assert [image.get("labelled") for image in train.coco["images"]] == [False, None]


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_a_missing_size_is_left_to_the_picture(root: Path, size: str) -> None:
    path = root / "Annotations/a.xml"
    path.write_text(path.read_text().replace("<size><width>20</width><height>10</height></size>", size))
    image = read(root)[0].coco["images"][1]
    assert (image["width"], image["height"]) == (0, 0)


@pytest.mark.parametrize(
    ("pictures", "file_name", "used", "repaired"),
    [
        (["a.png"], "a", "a.png", True),
        (["a.png"], "a.png", "a.png", False),
        (["a.png", "c.png"], "c.png", "a.png", True),
        (["a.png", "a.jpg"], "a.png", "a.png", False),
        (["a.JPG"], "C:\\pictures\\a.JPG", "a.JPG", False),
        (["z.png"], "z.png", "z.png", True),
        (["a.png"], "", "a.png", False),
    ],
)
def test_the_stem_pairs_an_image_with_its_xml(
    root: Path, pictures: list[str], file_name: str, used: str, repaired: bool
) -> None:
    (root / "JPEGImages").mkdir()
    for name in pictures:
        (root / "JPEGImages" / name).touch()
    path, findings = root / "Annotations/a.xml", Findings()
    path.write_text(path.read_text().replace("a.jpg", file_name))
    train, _ = read(root, findings)
    assert train.coco["images"][1]["file_name"] == f"JPEGImages/{used}"
    assert any("a.xml" in place for found in findings.repairs.values() for place in found) == repaired
    assert not findings.faults


def test_one_of_several_pictures_has_to_be_named(root: Path) -> None:
    (root / "JPEGImages").mkdir()
    for name in ("a.png", "a.webp"):
        (root / "JPEGImages" / name).touch()
    with pytest.raises(InputError, match=r"several pictures of their name .*\n.*a\.xml: a\.png, a\.webp"):
        read(root)


def test_pictures_of_folders_and_of_links_to_them(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "a.png").touch()
    (root / "JPEGImages").mkdir()
    (root / "JPEGImages/day2").symlink_to(elsewhere)
    (root / "JPEGImages/a.jpg").touch()
    (root / "JPEGImages/a.png").mkdir()
    (root / "ImageSets/Main/trainval.txt").write_text("day1/a\nday2/a\na")
    names = [image["file_name"] for image in read(root)[0].coco["images"]]
    assert names == ["JPEGImages/day1/a.jpg", "JPEGImages/day2/a.png", "JPEGImages/a.jpg"]


@pytest.mark.parametrize(
    "text", ["c -1\na  1\n", "\ufeffc\na\n", "c.xml\na.jpg", "c\r\n\r\na\r\n", "./c\na", "c\nc\na\n"]
)
def test_lists_as_tools_write_them(root: Path, text: str) -> None:
    (root / "ImageSets/Main/trainval.txt").write_text(text, encoding="utf-8")
    train, _ = read(root)
    assert [image["file_name"] for image in train.coco["images"]] == ["JPEGImages/c.jpg", "JPEGImages/a.jpg"]


def test_a_name_that_ends_in_a_number_is_a_name(root: Path) -> None:
    write_xml(root, "a 1", ("ant", (3, 4, 6, 8)))
    (root / "ImageSets/Main/trainval.txt").write_text("a 1\nc")
    assert read(root)[0].coco["images"][0]["file_name"] == "JPEGImages/a 1.jpg"


@pytest.mark.parametrize("line", ["../../a", "/a", "x/../../a", ".", "./", ",1", "JPEGImages/", "JPEGImages/."])
def test_a_line_that_leaves_the_folder_is_refused(root: Path, line: str) -> None:
    (root / "ImageSets/Main/trainval.txt").write_text(f"a\n{line}")
    with pytest.raises(InputError, match="Lines of lists"):
        read(root)


def test_fractions_are_refused(root: Path) -> None:
    write_xml(root, "a", ("ant", (0.1, 0.2, 0.5, 1)))
    with pytest.raises(InputError, match=r"all corners within 0\.\.1 .*\n.*a\.xml"):
        read(root)


def test_classes_come_from_the_list_of_the_root(root: Path) -> None:
    (root / "labels.txt").write_text("zebra\nant\nbee\nfly\n")
    train, test = read(root, classes=None)
    for split in (train, test):
        assert [c["name"] for c in split.coco["categories"]] == ["ant", "bee", "fly", "zebra"]
    (root / "labels.txt").write_text("ant\nbee\n")
    with pytest.raises(InputError, match=r"class list lacks .*\n.*a\.xml: zebra"):
        read(root, classes=None)


def test_classes_never_come_from_labels_of_the_pool(root: Path) -> None:
    write_xml(root, "b", ("bee", (2, 2, 5, 5)), ("ant", (2, 2, 5, 5)), ("zebra", (2, 2, 5, 5)))
    findings = Findings()
    train, _ = read(root, findings, classes=None)
    assert places(findings.repairs)["classes are not declared"] == ["ant, bee, zebra"]
    before = train.coco["categories"]
    write_xml(root, "a", ("ant", (1, 1, 20, 10)))
    assert read(root, classes=None)[0].coco["categories"] == before
    write_xml(root, "a", ("antt", (1, 1, 20, 10)))
    with pytest.raises(InputError, match=r"no test image shows .*data\.classes.*\n.*a\.xml: antt"):
        read(root, classes=None)


def test_an_object_in_another_spelling_is_no_background(root: Path) -> None:
    path = root / "Annotations/a.xml"
    path.write_text(path.read_text().replace("<object>", "<Object>").replace("</object>", "</Object>"))
    with pytest.raises(InputError, match=r"no VOC annotations .*\n.*a\.xml: <Object>"):
        read(root)


def test_xml_in_utf8_under_another_name(root: Path) -> None:
    path = root / "Annotations/a.xml"
    text = path.read_text().replace("ant<", "\u98ce<")
    path.write_text(f'<?xml version="1.0" encoding="gb2312"?>{text}', encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.xml: it declares gb2312, and its bytes are UTF-8"):
        read(root, classes=["\u98ce", "bee", "zebra"])
    path.write_text(f'<?xml version="1.0" encoding="utf-16"?>{text}', encoding="utf-8")
    assert len(read(root, classes=["\u98ce", "bee", "zebra"])[0].coco["annotations"]) == 2


def test_a_misspelt_class_is_named(root: Path) -> None:
    with pytest.raises(InputError, match="antt have no box, while boxes are of ant"):
        read(root, classes=["antt", "bee", "zebra"])
    assert read(root, classes=["ant", "bee", "zebra", "yak"])


def test_two_class_lists_must_agree(root: Path) -> None:
    (root / "labels.txt").write_text("zebra\nant\nbee\n")
    (root / "classes.txt").write_text("ant\nbee\nzebra\n")
    read(root, classes=None)
    (root / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(InputError, match="contradict each other"):
        read(root, classes=None)


@pytest.mark.parametrize("text", ["c,1\na,-1\n", "JPEGImages/c.jpg\nAnnotations/a.xml\n"])
def test_other_lists(root: Path, text: str) -> None:
    (root / "ImageSets/Main/trainval.txt").write_text(text)
    assert len(read(root)[0].coco["images"]) == 2


def test_a_comment_in_a_list_is_named(root: Path) -> None:
    (root / "ImageSets/Main/trainval.txt").write_text("a\n# comment\n")
    with pytest.raises(InputError, match=r"trainval\.txt: # comment"):
        read(root)


def test_a_name_too_long_for_a_file_is_that_of_no_label(root: Path) -> None:
    (root / "ImageSets/Main/trainval.txt").write_text(f"a\n{'x' * 300}\n")
    assert [image.get("labelled") for image in read(root)[0].coco["images"]] == [None, False]


def test_labels_with_a_suffix_in_capitals_are_read(root: Path) -> None:
    (root / "Annotations/a.xml").rename(root / "Annotations/a.XML")
    assert len(read(root)[0].coco["annotations"]) == 2


@pytest.mark.parametrize(("unlabelled", "images"), [("leave_out", 1), ("background", 2)])
def test_an_image_without_labels_is_background_only_where_the_user_says_so(
    root: Path, unlabelled: str, images: int
) -> None:
    (root / "Annotations/c.xml").unlink()
    (root / "JPEGImages").mkdir()
    for place, name in enumerate("abc"):
        Image.new("RGB", (20, 10), (90 * place, 0, 0)).save(root / f"JPEGImages/{name}.jpg")
    write_xml(root, "b", ("ant", (2, 2, 5, 5)))
    given = {"format": "voc", "root": str(root), "classes": ["ant", "zebra"], "unlabelled": unlabelled}
    checked = read_splits(resolve_config({"data": given}).data, root)
    assert len(checked.train["images"]) == images


@pytest.mark.parametrize(
    ("second", "advice"),
    [((0, 0, 9, 9), "counted from 0: VOC counts from 1"), ((5, 5, 30, 9), "corners were given as")],
)
def test_corners_counted_from_zero_are_said_where_they_explain_all(
    root: Path, second: tuple[int, ...], advice: str
) -> None:
    write_xml(root, "a", ("ant", (0, 1, 20, 10)), ("bee", second))
    (root / "JPEGImages").mkdir()
    for stem in "abc":
        (root / "JPEGImages" / f"{stem}.jpg").touch()
    data = VocData(format="voc", root=str(root), classes=("ant", "bee"), test_difficult=True)
    repairs = read_splits(data, root).findings.repairs
    assert [advice in kind.advice for kind in repairs if "beyond their images" in kind.title] == [True]
