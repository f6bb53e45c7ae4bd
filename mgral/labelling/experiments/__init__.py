"""Experiments of a project beside its rounds: checks of labels, comparisons with controls, replays."""
