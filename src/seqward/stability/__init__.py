"""The stability guard: is this training still sound? What it measures, how it judges, and what it may do about it."""
