"""What a method needs of the training events, told before any work."""

from __future__ import annotations

import numpy as np

from seqward.data.dataset import TRAIN, Dataset
from seqward.errors import SeqwardError
from seqward.methods.registry import Entry

INSTEAD = "or train a method that learns from no reward, such as sasrec."


def refuse_unfit(entry: Entry, data: Dataset) -> None:
    """Refuse training events that lack what the method learns from.

    Raises:
        SeqwardError: there are none, no session has two; or no goal, or a single reward, where the method needs
            goals or rewards.
    """
    train = data.split == TRAIN
    events = int(train.sum())
    if not events:
        raise SeqwardError("the data set has no training events. Prepare it with more sessions or another split.")
    if entry.family != "baseline" and np.bincount(data.session_of_event()[train]).max() < 2:
        raise SeqwardError(
            f"{entry.name} learns what comes after what, and no session has two training events ({events} in all). "
            "Prepare the log with longer sessions (--user-col, --session-gap) or another split."
        )
    if "goal" in entry.needs and not data.goal[train].any():
        raise SeqwardError(
            f"{entry.name} learns what leads to a goal, and none of the {events} training events is one. Prepare "
            f"the log with --goal and --reward (or --reward-col), {INSTEAD}"
        )
    rewards = np.unique(data.reward[train])
    if "rewards" in entry.needs and len(rewards) < 2:
        raise SeqwardError(
            f"{entry.name} learns from rewards that differ, and all {events} training events earn {rewards[0]:g}. "
            f"Prepare the log with --reward TYPE=VALUE or --reward-col, {INSTEAD}"
        )
