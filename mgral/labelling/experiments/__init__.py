"""Checks of labels, comparisons with controls, and replays: experiments of a project that are not rounds."""
