"""Arrays that are mapped into memory are those that were written."""

import numpy as np
import pytest

from mgral.artefacts.files import map_arrays, read_arrays, write_all_json, write_arrays
from mgral.errors import InputError

ARRAYS = {
    "b": np.arange(6, dtype=np.int64),
    "a": np.random.default_rng(0).random((3, 5), dtype=np.float32),
    "c": np.array([[0.25]]),
}


def test_mapped_arrays_are_those_that_are_read(tmp_path):
    path = tmp_path / "arrays.safetensors"
    write_arrays(path, ARRAYS)
    mapped, read = map_arrays(path), read_arrays(path)
    assert mapped.keys() == read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert mapped[name].dtype == array.dtype
        np.testing.assert_array_equal(mapped[name], array)
        np.testing.assert_array_equal(read[name], array)
        assert not mapped[name].flags.writeable


def test_an_array_that_cannot_be_mapped_is_an_error_naming_the_file(tmp_path):
    path = tmp_path / "arrays.safetensors"
    with pytest.raises(InputError, match=r"arrays\.safetensors: No such file or directory; run the step"):
        map_arrays(path)
    write_arrays(path, ARRAYS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"arrays\.safetensors is damaged .* delete it and run the step again"):
        map_arrays(path)
    write_arrays(path, {"a": np.zeros(2, dtype=np.int16)})
    with pytest.raises(InputError, match=r"arrays\.safetensors is damaged"):
        map_arrays(path)


def test_a_file_whose_name_begins_like_another_is_written_beside_it(tmp_path):
    """Only what a killed process left of the same file is removed."""
    (tmp_path / ".a.123.partial").touch()
    write_all_json({tmp_path / "a.json": 1, tmp_path / "a": 2})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "1\n", "a": "2\n"}
