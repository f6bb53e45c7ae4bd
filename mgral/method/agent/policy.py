"""The policy: batches drawn without replacement by score (Plackett-Luce), and their exact log-probability."""

import torch
from torch import Tensor


def sample_batches(scores: Tensor, size: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw ordered batches from the Plackett-Luce distribution, by Gumbel top-k (Kool et al. 2019).

    Parameters
    ----------
    scores
        Shape [N].
    size
        Images in a batch, B <= N.
    count
        Batches, S.

    Returns
    -------
    Rows in the order of the draws, int64 [S, B].
    """
    uniform = torch.rand(count, len(scores), generator=generator, dtype=torch.float64)
    # `rand` can return 0 exactly, whose Gumbel key would be -inf, and nearly 1 but never 1.
    gumbel = -(-uniform.clamp_min(torch.finfo(torch.float64).tiny).log()).log()
    return (scores.detach() + gumbel.to(scores.device)).topk(size, dim=1).indices


def log_probability(scores: Tensor, batches: Tensor) -> Tensor:
    """Return the log-probability [S] of ordered batches [S, B] under scores [N], differentiable in the scores.

    log pi(o) = sum_i (s_{o_i} - log sum_{j not in o_1..o_{i-1}} exp s_j): the i-th image is drawn by a softmax
    over those not drawn before it. The sums of all i come from one cumulative log-sum-exp, from the last draw back.
    """
    count, size = batches.shape
    chosen = scores[batches]
    remaining = chosen.flip(1)
    if size < len(scores):
        others = scores.expand(count, -1).scatter(1, batches, float("-inf"))
        remaining = torch.cat([others.logsumexp(dim=1, keepdim=True), remaining], dim=1)
    # Position i from the end sums the images drawn at or after i, and those never drawn.
    denominators = remaining.logcumsumexp(dim=1)[:, -size:]
    return chosen.sum(dim=1) - denominators.sum(dim=1)


def entropy(scores: Tensor) -> Tensor:
    """Return the entropy, in nats, of the first draw's softmax over scores [N]; at most log N."""
    logs = scores.log_softmax(dim=0)
    return -(logs.exp() * logs).sum()
