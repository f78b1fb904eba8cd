"""Temporal-difference learning of Q."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

Regression = Callable[[Tensor, Tensor], Tensor]
"""(prediction, target) -> one loss a target. The prediction is Q in the target's shape, or what Q is read from."""


def squared(q: Tensor, target: Tensor) -> Tensor:
    """Half the squared error. Its minimum is the mean of the targets."""
    return 0.5 * (target - q).square()


def huber(q: Tensor, target: Tensor, delta: float) -> Tensor:
    """``squared`` up to an error of delta and a line from there (Huber 1964), so that no error pulls more than delta.

    Its minimum lies between the targets' mean, where delta is large, and their median, where it is small.
    """
    return huber_loss(*torch.broadcast_tensors(q, target), reduction="none", delta=delta)


def within(loss: Regression, low: float, high: float) -> Regression:
    """The loss against targets that are clipped to [low, high]."""
    return lambda prediction, target: loss(prediction, target.clamp(low, high))


def double_q(
    q_tm1: Tensor, r_t: Tensor | float, discount_t: Tensor | float, q_t: Tensor, loss: Regression = squared
) -> Tensor:
    """Half the squared error against the double-Q target (van Hasselt 2010; Eq. 1 of the paper with its factor 1/2).

    The target is r_t + discount_t * q_t, a constant. The caller takes ``q_t`` from the target network at the greedy
    item of the online network.

    Args:
        q_tm1: [n] online Q of the logged item, or what ``loss`` takes in its place.
        r_t: [n] its reward.
        discount_t: [n], gamma, and 0 where the session ended.
        q_t: [n] target Q of the greedy next item.
        loss: of the prediction and the target.

    Returns:
        [n]
    """
    return loss(q_tm1, (r_t + discount_t * q_t).detach())


def double_q_of_negatives(
    q: Tensor, reward: float, discount: Tensor | float, q_next: Tensor, loss: Regression = squared
) -> Tensor:
    """``double_q`` of items that the user did not choose, summed over them: SNQN (Xin et al., WSDM 2022).

    There such an item does not move the user, so ``q_next`` is of the state before the event and the discount does not
    end with the session.

    Args:
        q: [n, k] online Q of the negatives, or what ``loss`` takes in its place.
        reward: of each of them.
        discount: gamma, or [n].
        q_next: [n] target Q of the greedy item at the state that they lead to.
        loss: of the prediction and the target.

    Returns:
        [n]; zeros where k is 0.
    """
    return double_q(q, reward, 1.0, (discount * q_next)[:, None], loss).sum(1)


def earned(reward: Tensor, ahead: Tensor, gamma: float) -> Tensor:
    """Discounted rewards of each event and of those that come right after it in the same order.

    Args:
        reward: [n]
        ahead: [n] int64, how many rewards each event sums, its own among them; none reaches beyond the end.

    Returns:
        [n] ``sum_{h < ahead} gamma^h reward[i + h]``.
    """
    total = reward
    for h in range(1, int(ahead.max()) if len(ahead) else 0):
        later = torch.cat([reward[h:], reward.new_zeros(min(h, len(reward)))])
        total = total + gamma**h * later * (ahead > h)
    return total
