"""Whether a detector has learnt enough for a comparison; light, as the console needs it too."""

from collections.abc import Sequence

LEAST = 0.02
"""Mean mAP over seeds of the detector of all labels, 0 to 1; below it, curves show chance alone."""


def learnt_nothing(full_scores: Sequence[float]) -> str:
    """Return the sentence on a detector that has learnt almost nothing, empty of one that has learnt.

    Parameters
    ----------
    full_scores
        mAP of the detector of all labels of each seed, 0 to 1; NaN where there are no boxes to score.
    """
    # The mean of NaN is not below anything.
    mean = sum(full_scores) / len(full_scores)
    if not mean < LEAST:
        return ""
    return (
        f"The detector has learnt almost nothing: its mAP with all labels is {100 * mean:.1f} %. "
        "So comparisons of strategies mean nothing."
    )
