"""Detectors behind one interface (`interface`); `build` makes, saves and loads one by its section of settings.

This file imports nothing, so that the settings in `detectors` are read without torch, which takes seconds.
"""
