"""Reading and writing the files that pass between steps; each appears completely or not at all."""

import csv
import glob
import io
import json
import math
import mmap
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from mgral.artefacts.integrity import WRITTEN, read_verified, verify_file
from mgral.errors import InputError, SparseError, StepError

DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
"""NumPy types of the arrays that can be mapped into memory, by their names in safetensors."""
REASON = "reason"
"""Key, in JSON and in the metadata of safetensors, of the reason why an artefact contains no data."""
NOTE = "note"
"""Key in selection.json of a remark, if the images were not chosen in the strategy's usual way."""
TIED = "tied"
"""Key in selection.json of the number of images at the end that were drawn from more of the same score."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or a folder, which is renamed to `path` at the end.

    So readers find the old content or the new one, even after a crash, and never a part of it.

    Raises
    ------
    StepError
        Naming `path`, where it cannot be written: a full disk, a folder that may not be written to.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One job at a time makes a file, so another partial one is what a killed process left.
        for left_over in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
            process = left_over.name.split(".")[-2]
            if left_over.name == f".{path.name}.{process}.partial":  # and not of a longer name
                _discard(left_over)
        yield partial
        partial.replace(path)
        WRITTEN.add(path)
    except OSError as error:
        raise StepError(
            f"{path} cannot be written ({error.strerror}); free space, or make its folder writable, and run again"
        ) from None
    finally:
        _discard(partial)


def _discard(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely, synchronised with the disk; raises StepError as `atomic_path` does."""
    write_all({path: content})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write files as `write_bytes` does: all, or none if one cannot be written. They appear in reverse order."""
    with ExitStack() as stack:
        for path, content in contents.items():
            with stack.enter_context(atomic_path(path)).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and one line an entry; NaN is an error."""
    write_all_json({path: value})


def write_all_json(values: Mapping[Path, Any]) -> None:
    """Write JSON files as `write_json` does: all of them or, where one cannot be written, none."""
    with ExitStack() as stack:
        for path, value in values.items():
            dump_json(stack.enter_context(atomic_path(path)), value)


def dump_json(partial: Path, value: Any) -> None:
    """Write JSON as `write_json` does into a partial file, and synchronise it with the disk."""
    # In pieces: COCO's 860,000 boxes are 30 million of them, more memory than the boxes themselves.
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        json.dump(value, file, indent=1, sort_keys=True, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def json_text(value: Any) -> str:
    """Return JSON as `write_json` writes it."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_json(path: Path, unique_keys: bool = False) -> Any:
    """Read JSON; raises InputError where the file is missing or is not JSON, or, if asked to, repeats a key."""
    try:
        return json.loads(read_verified(path), object_pairs_hook=refuse_repeated if unique_keys else None)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path, or run the step that makes it") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); replace it or correct its syntax") from None
    except RecursionError:
        raise InputError(f"{path}: its lists and objects are nested too deeply; replace it") from None


def refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raises ValueError where it has a key twice. For `object_pairs_hook`."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in mapping if names.count(name) > 1)!r} is there twice")
    return mapping


def write_csv(path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Write rows with a header; floats keep every digit."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read rows by column name, values as text."""
    try:
        return list(csv.DictReader(io.StringIO(read_verified(path).decode(), newline="")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the step that makes it") from None


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write named arrays as safetensors."""
    write_bytes(path, save_safetensors({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def write_reason(path: Path, reason: str) -> None:
    """Write, in the place of named arrays, why there are none."""
    write_bytes(path, save_safetensors({}, {REASON: reason}))


def _raise_reason(path: Path) -> None:
    """Raise SparseError where a file contains the reason why there are no arrays."""
    with safe_open(path, "numpy") as content:
        metadata = content.metadata() or {}
    if REASON in metadata:
        raise SparseError(metadata[REASON])


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read named arrays from safetensors.

    Raises
    ------
    InputError
        Where the file is missing or damaged.
    SparseError
        Where it contains the reason why there are none.
    """
    try:
        content = read_verified(path)
        arrays = load_safetensors(content)
        if not arrays:
            _raise_reason(path)
        return arrays
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the step that makes it") from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run the step again") from None


def map_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Map named arrays from safetensors into memory, read-only; their pages are shared by all processes.

    Raises
    ------
    InputError, SparseError
        As `read_arrays`.
    """
    try:
        verify_file(path)
        with path.open("rb") as file, safe_open(path, "numpy") as content:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # The arrays lie one after the other behind the header, whose length comes first.
            start = 8 + int.from_bytes(memory[:8], "little")
            arrays = {}
            for name in content.offset_keys():
                part = content.get_slice(name)
                shape, dtype = part.get_shape(), np.dtype(DTYPES[part.get_dtype()])
                arrays[name] = np.frombuffer(memory, dtype, math.prod(shape), start).reshape(shape)
                start += arrays[name].nbytes
        if not arrays:
            _raise_reason(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run the step that makes it") from None
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run the step again") from None
    return arrays
