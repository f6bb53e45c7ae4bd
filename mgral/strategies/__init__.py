"""Query strategies behind one interface: which B images of the pool are labelled next.

A strategy is a module of this folder with a function `(query: Query) -> Choice`, and an entry of `STRATEGIES`, which
is all that configuration, command line, workflow and report know of it; they do not import it.
"""

from typing import NamedTuple


class Strategy(NamedTuple):
    """What a strategy is, and the options of the step `select` that it cannot do without."""

    summary: str
    function: str
    """`module:function` in this package."""
    looks_at: tuple[str, ...] = ()
    views: int = 1
    """How often the detector sees an image of the pool, where it does at all."""


DETECTOR = ("images", "detector")

STRATEGIES: dict[str, Strategy] = {
    "mgral": Strategy("the trained agent's scores", "mgral:choose", ("embeddings", "agent")),
    "random": Strategy("uniform at random", "random:choose"),
    "entropy": Strategy("mean class entropy of the objects, without a threshold", "entropy:choose", DETECTOR),
    "entropy_sum": Strategy("class entropy, summed over the boxes found", "entropy:choose_sum", DETECTOR),
    "entropy_mean": Strategy("class entropy, mean of the boxes found", "entropy:choose_mean", DETECTOR),
    "entropy_max": Strategy("class entropy, of the box in most doubt", "entropy:choose_max", DETECTOR),
    "least_confidence": Strategy("1 - the likeliest class, summed over boxes", "least_confidence:choose", DETECTOR),
    "margin": Strategy("closeness of the two likeliest classes, summed over boxes", "margin:choose", DETECTOR),
    "core_set": Strategy("k-centre greedy on the embeddings", "core_set:choose", ("embeddings",)),
    "cald": Strategy(
        "objects that change as the image is changed, of rare classes", "cald:choose", DETECTOR, views=5
    ),
    "cdal": Strategy("k-centre greedy on what the classes are mixed up with", "cdal:choose", DETECTOR),
    "csd": Strategy("class distributions that change as the image is mirrored", "csd:choose", DETECTOR, views=2),
    "meh_hua": Strategy(
        "epistemic uncertainty of a loss-predicting head, object by object", "meh_hua:choose", DETECTOR
    ),
    "mi_aod": Strategy("discrepancy of two class heads", "mi_aod:choose", DETECTOR),
    "al_mdn": Strategy("the most uncertain object, by mixtures of Gaussians", "al_mdn:choose", DETECTOR),
    "llal": Strategy("loss predicted for the image", "llal:choose", DETECTOR),
    "ppal": Strategy("medoids of the images with the most class-weighted entropy", "ppal:choose", DETECTOR),
}
