"""One number a state: the value of a policy, or anything else that is known of a session."""

from __future__ import annotations

from torch import Tensor

from seqward.objectives.td import squared


def regression(target: Tensor, value: Tensor) -> Tensor:
    """Half the squared error against a constant; its minimum is the mean of the targets.

    Args:
        target: [n]
        value: [n]

    Returns:
        [n]
    """
    return squared(value, target.detach())


def expectile(target: Tensor, value: Tensor, tau: float) -> Tensor:
    """Squared error that counts tau where the value is too low and 1 - tau where it is too high.

    Its minimum is the tau-expectile of the targets: the mean at .5, towards 1 the largest of them. With targets
    Q(s, a) of logged items that is a maximum over what was done, and no other item is asked for (IQL: Kostrikov et
    al., ICLR 2022, Eq. 5).

    Args:
        target: [n] taken as a constant.
        value: [n]
        tau: between 0 and 1.

    Returns:
        [n]
    """
    error = target.detach() - value
    return (error < 0).to(error.dtype).sub(tau).abs() * error.square()
