"""Temporal-difference learning of Q."""

from __future__ import annotations

from torch import Tensor


def double_q(q_tm1: Tensor, r_t: Tensor | float, discount_t: Tensor | float, q_t: Tensor) -> Tensor:
    """Half the squared error against the double-Q target (van Hasselt 2010; Eq. 1 of the paper with its factor 1/2).

    The target is r_t + discount_t * q_t, a constant. The caller takes ``q_t`` from the target network at the greedy
    item of the online network.

    Args:
        q_tm1: [n] online Q of the logged item.
        r_t: [n] its reward.
        discount_t: [n], gamma, and 0 where the session ended.
        q_t: [n] target Q of the greedy next item.

    Returns:
        [n]
    """
    target = (r_t + discount_t * q_t).detach()
    return 0.5 * (target - q_tm1).square()


def double_q_of_negatives(q: Tensor, reward: float, discount: Tensor | float, q_next: Tensor) -> Tensor:
    """``double_q`` of items that the user did not choose, summed over them: SNQN (Xin et al., WSDM 2022).

    There such an item does not move the user, so ``q_next`` is of the state before the event and the discount does not
    end with the session.

    Args:
        q: [n, k] online Q of the negatives.
        reward: of each of them.
        discount: gamma, or [n].
        q_next: [n] target Q of the greedy item at the state that they lead to.

    Returns:
        [n]; zeros where k is 0.
    """
    return double_q(q, reward, 1.0, (discount * q_next)[:, None]).sum(1)
