"""Masks of Label Studio's brush: bits of runs, packed by the JavaScript library rle-pack (thi.ng/umbrella)."""

from collections.abc import Sequence

import numpy as np

from mgral.labelling.exchange.outlines import Corners

LARGEST = 2**28
"""Most pixels of a picture whose masks are read: a mask takes 4 bytes a pixel."""


def around_brush(packed: object, size: tuple[int, int]) -> Corners | None:
    """Return the box around the painted pixels of a mask; None where the mask is damaged, empty or too large.

    Parameters
    ----------
    packed
        The mask as Label Studio exports it: a list of bytes. Unpacked it is uint8 [height * width * 4]: red, green,
        blue and alpha. Pixels with an alpha above 0 are painted.
    size
        Width and height of the picture, in pixels.
    """
    width, height = size
    if not isinstance(packed, list) or not all(isinstance(byte, int) and 0 <= byte < 256 for byte in packed):
        return None
    if width * height > LARGEST:
        return None
    values = _unpack(packed, width * height * 4)
    if values is None:
        return None
    painted = values.reshape(height, width, 4)[:, :, 3] > 0
    rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
    if not len(rows):
        return None
    return Corners(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


class _Bits:
    """Reads integers of any count of bits."""

    def __init__(self, content: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(content, np.uint8))
        self._at = 0

    def read(self, count: int) -> int:
        """Return the next number; raises EOFError at the end."""
        bits = self._bits[self._at : self._at + count]
        if len(bits) < count:
            raise EOFError
        self._at += count
        return int.from_bytes(np.packbits(np.concatenate([np.zeros(-count % 8, np.uint8), bits])).tobytes())


def _unpack(packed: Sequence[int], expected: int) -> "np.ndarray[tuple[int], np.dtype[np.uint8]] | None":
    bits = _Bits(bytes(packed))
    try:
        count, word_size = bits.read(32), bits.read(5) + 1
        lengths = [bits.read(4) + 1 for _ in range(4)]
        if count != expected or word_size > 8:
            return None
        values, position = np.zeros(count, np.uint8), 0
        while position < count:
            repeated = bits.read(1)
            end = position + 1 + bits.read(lengths[bits.read(2)])
            if end > count:
                return None
            if repeated:
                values[position:end] = bits.read(word_size)
            else:
                values[position:end] = [bits.read(word_size) for _ in range(position, end)]
            position = end
    except EOFError:
        return None
    return values
