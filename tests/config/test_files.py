"""Configuration files that are no configuration: each is refused by its name."""

import pytest

from mgral.config import load_config
from mgral.errors import InputError

BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)),
    ]
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seeds: [0]\n".encode("utf-16"), "is not in UTF-8"),
        (b"seeds: [\xff]\n", "is not in UTF-8"),
        (b"seeds: &a [*a]\n", "holds more than 100,000 values"),
        (BOMB.encode(), "holds more than 100,000 values"),
        (b"seeds: " + b"[" * 5000, "lie too deep in each other"),
        (b"2024-99-99: 1\n", "is not YAML"),
        (b"seeds: \x00\n", "is not YAML"),
        (b"seeds: [\n", "is not YAML"),
        (b"", "holds no keys"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path, content, message):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"odd\.yaml.*{message}"):
        load_config(path)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path):
    path = tmp_path / "marked.yaml"
    path.write_text("\ufeffseeds: [3]\n", encoding="utf-8")
    assert load_config(path).seeds == (3,)


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    path = tmp_path / "home.yaml"
    path.write_text("data: {format: coco, root: ~/pictures}\n")
    assert load_config(path).data.root == "/home/someone/pictures"
