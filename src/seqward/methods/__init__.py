"""Every method as data: a backbone, heads, and phases of weighted loss terms; one function each.

Eq. 4 of the paper, L = L_CE + w L_Q + L_CO + a L_CQL, is the list in ``ccql.sasrec_ccql``, in that order.
"""

from __future__ import annotations

# The order of the imports is the order in which methods are listed.
# isort: off
from seqward.methods import baselines, neighbours, supervised, sceptics, value_based, contrastive, ccql, cdarl  # noqa: F401
from seqward.methods import policy_based, controls, released  # noqa: F401

# isort: on
from seqward.methods.registry import METHODS, Entry, method, method_named

__all__ = ["METHODS", "Entry", "method", "method_named"]
