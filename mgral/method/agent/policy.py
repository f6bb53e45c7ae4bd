"""The policy of the paper's agent: batches drawn by score without replacement, and their log-probability."""

import torch
from torch import Tensor


def sample_batches(scores: Tensor, size: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw ordered batches from the Plackett-Luce distribution, by Gumbel top-k (Kool et al. 2019).

    Parameters
    ----------
    scores
        Scores of the images, float32 [N].
    size
        Images in a batch, B <= N.
    count
        Number of batches, S.

    Returns
    -------
    Rows of the images in the order of the draws, int64 [S, B].
    """
    uniform = torch.rand(count, len(scores), generator=generator, dtype=torch.float64)
    # `rand` can return exactly 0, whose Gumbel key would be -inf. It never returns 1.
    gumbel = -(-uniform.clamp_min(torch.finfo(torch.float64).tiny).log()).log()
    return (scores.detach() + gumbel.to(scores.device)).topk(size, dim=1).indices


def log_probability(scores: Tensor, batches: Tensor) -> Tensor:
    """Return the log-probability, [S], of ordered batches, int64 [S, B], under scores [N], with gradients.

    log pi(o) = sum_i (s_{o_i} - log sum_{j not in o_1..o_{i-1}} exp s_j): the i-th image is drawn by a softmax over
    the images that are left. One cumulative log-sum-exp, from the last draw to the first, gives the sums for all i.
    """
    count, size = batches.shape
    chosen_scores = scores[batches]
    remaining = chosen_scores.flip(1)
    if size < len(scores):
        never_drawn = scores.expand(count, -1).scatter(1, batches, float("-inf"))
        remaining = torch.cat([never_drawn.logsumexp(dim=1, keepdim=True), remaining], dim=1)
    # The sum at a position is over the image drawn there, all images drawn later, and those never drawn.
    denominators = remaining.logcumsumexp(dim=1)[:, -size:]
    return chosen_scores.sum(dim=1) - denominators.sum(dim=1)


def entropy(scores: Tensor) -> Tensor:
    """Return the entropy of the first draw, by a softmax over scores [N], as a scalar in nats, 0 to log N."""
    logs = scores.log_softmax(dim=0)
    return -(logs.exp() * logs).sum()
