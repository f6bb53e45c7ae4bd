"""Embeddings made by hand: nothing found by a detector, and counts that a test gives."""

import numpy as np

from mgral.selection.embeddings import Embeddings


def made_embeddings(ids, components, counts=None, counted=(), path=None):
    """Return embeddings; without counts, of one class that is nowhere."""
    components = np.asarray(components, np.float32)
    counts = np.zeros((len(components), 1), np.float32) if counts is None else np.asarray(counts, np.float32)
    nothing = np.zeros((len(components), 0), np.float32)
    known, presence = np.asarray(counted, np.int64), np.minimum(counts, 1)
    return Embeddings(np.asarray(ids, np.int64), components, counts, presence, nothing, known, path)
