"""Losses: pure functions on logits, each the mean over a batch, a scalar in nats.

N pictures, L classes or labels, h x w positions. At a position, shares [N, L, h, w] say how much of it each class
covers; they add up to less than 1 where part of it is to be ignored.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of logits [N, L] against class probabilities [N, L], smoothed towards the uniform ones (Szegedy et
    al. 2016); `weights` [L] are what each class counts."""
    if smoothing:
        targets = (1 - smoothing) * targets + smoothing / targets.shape[1]
    if weights is not None:
        targets = targets * weights
    return -(targets * F.log_softmax(logits.float(), dim=1)).sum(1).mean()


def negative_log_likelihood(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Of log-probabilities [N, L] against class probabilities [N, L]: cross-entropy where they are log-softmax."""
    return -(targets * log_probabilities.float()).sum(1).mean()


def focal(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy whose terms count (1 - p)^gamma: easy pictures fade (Lin et al. 2017, for several classes)."""
    log_p = F.log_softmax(logits.float(), dim=1)
    return -(targets * (1 - log_p.exp()) ** gamma * log_p).sum(1).mean()


def logit_adjusted(
    logits: Tensor, targets: Tensor, priors: Tensor, strength: float = 1.0, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of logits + strength * log prior of each class [L]: the logits themselves then favour no class for
    being frequent (Menon et al. 2021)."""
    return soft_cross_entropy(logits + strength * priors.log(), targets, smoothing)


def arcface(cosines: Tensor, targets: Tensor, margin: float = 0.3, scale: float = 30.0) -> Tensor:
    """Cross-entropy of scaled cosines [N, L] between embeddings and class weights, the angle of the true class widened
    by `margin` radians (Deng et al. 2019); with class probabilities [N, L] each class's by its share."""
    cosine = cosines.float().clamp(-1 + 1e-6, 1 - 1e-6)
    widened = torch.cos((torch.acos(cosine) + margin * targets).clamp_max(torch.pi))
    return soft_cross_entropy(scale * widened, targets)


def binary_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each label by itself, mean over labels: logits and targets in [0, 1], both [N, L]."""
    if smoothing:
        targets = (1 - smoothing) * targets + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits.float(), targets.float())


def asymmetric(
    logits: Tensor, targets: Tensor, gamma_there: float = 0.0, gamma_absent: float = 4.0, shift: float = 0.05
) -> Tensor:
    """Binary cross-entropy whose many easy absent labels fade: terms count (1 - p)^gamma_there where a label is there
    and q^gamma_absent for q = max(p - shift, 0) where it is not (Ridnik et al. 2021); mean over labels."""
    p = torch.sigmoid(logits.float())
    q = (p - shift).clamp_min(0)
    there = targets * (1 - p) ** gamma_there * F.logsigmoid(logits.float())
    absent = (1 - targets) * q**gamma_absent * torch.log1p(-q.clamp_max(1 - 1e-6))
    return -(there + absent).mean()


def squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of values [N, 1] against targets [N, 1]."""
    return F.mse_loss(values.float(), targets.float())


def huber(values: Tensor, targets: Tensor, width: float = 1.0) -> Tensor:
    """Squared error up to `width`, absolute beyond (Huber 1964): values and targets [N, 1]."""
    return F.huber_loss(values.float(), targets.float(), delta=width)


def coarse_cross_entropy(logits: Tensor, targets: Tensor, group_of: Tensor) -> Tensor:
    """Cross-entropy of the coarse classes, whose probabilities are the sums of their fine ones': logits [N, L] against
    fine class probabilities [N, L], `group_of` [L] the number of each class's group (the hierarchical term of Redmon &
    Farhadi 2017, with one level)."""
    empty = torch.zeros(len(logits), int(group_of.max()) + 1, device=logits.device)
    groups, truth = (empty.index_add(1, group_of, p) for p in (F.softmax(logits.float(), dim=1), targets.float()))
    return -(truth * groups.clamp_min(torch.finfo(groups.dtype).tiny).log()).sum(1).mean()


def pixel_cross_entropy(logits: Tensor, shares: Tensor, weights: Tensor | None = None, gamma: float = 0.0) -> Tensor:
    """Cross-entropy of logits [N, L, h, w] against shares, the mean over all that is not ignored; `weights` [L] are
    what each class counts. With `gamma`, terms count (1 - p)^gamma: easy positions fade (Lin et al. 2017)."""
    log_p = F.log_softmax(logits.float(), dim=1)
    counts = shares if weights is None else shares * weights.view(1, -1, 1, 1)
    terms = counts * log_p if not gamma else counts * (1 - log_p.exp()) ** gamma * log_p
    return -terms.sum() / counts.sum().clamp_min(1e-6)


def thing_cross_entropy(logits: Tensor, shares: Tensor, gamma: float = 0.0) -> Tensor:
    """Cross-entropy of "the first class or any other", from logits [N, L, h, w] whose class 0 is the background: the
    probability of a thing is the sum of all others'."""
    log_p = F.log_softmax(logits.float(), dim=1)
    both = torch.stack([log_p[:, 0], torch.logsumexp(log_p[:, 1:], 1)], 1)
    return pixel_cross_entropy(both, torch.stack([shares[:, 0], shares[:, 1:].sum(1)], 1), None, gamma)


def thing_dice(logits: Tensor, shares: Tensor, smooth: float = 0.5) -> Tensor:
    """1 - (2 sum p s + smooth) / (sum p + sum s + smooth) of all classes but the first together, in each picture, mean
    over pictures: a small thing counts as much as a large one, and a false one where there is none as much as that."""
    p = (1 - F.softmax(logits.float(), dim=1)[:, 0]) * shares.sum(1)
    there = shares[:, 1:].sum(1)
    both, sums = (x.sum((1, 2)) for x in (p * there, p + there))
    return (1 - (2 * both + smooth) / (sums + smooth)).mean()


def presence_cross_entropy(logits: Tensor, shares: Tensor, surest: int = 10) -> Tensor:
    """Cross-entropy of "this picture shows a thing", foreseen from the log-odds of a thing at its `surest` positions,
    their mean; of logits [N, L, h, w] whose class 0 is the background. Pictures that show less of one than half a
    position are not asked."""
    logits = logits.float()
    odds = (torch.logsumexp(logits[:, 1:], 1) - logits[:, 0]).flatten(1)
    things, known = shares[:, 1:].sum(1).flatten(1).amax(1), (shares.sum(1) > 0).flatten(1)
    odds = odds.masked_fill(~known, torch.finfo(odds.dtype).min / surest)
    found = odds.topk(min(surest, odds.shape[1]), 1).values.mean(1)
    asked = ((things == 0) | (things >= 0.5)) & (known.sum(1) >= surest)
    if not asked.any():
        return logits.sum() * 0
    return F.binary_cross_entropy_with_logits(found[asked], (things[asked] > 0).float())


def soft_dice(logits: Tensor, shares: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - (2 sum p s + smooth) / (sum p + sum s + smooth) for probabilities p and shares s of a class over the batch,
    mean over the classes that are there (Milletari et al. 2016); what is ignored counts in neither."""
    p = F.softmax(logits.float(), dim=1) * shares.sum(1, keepdim=True)
    both, sums, there = (x.sum((0, 2, 3)) for x in (p * shares, p + shares, shares))
    each = 1 - (2 * both + smooth) / (sums + smooth)
    return (each * (there > 0)).sum() / (there > 0).sum().clamp_min(1)
