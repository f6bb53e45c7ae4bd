"""The settings of each detector, a file each, found by `mgral.config.detectors`; their networks are a folder up.

The two are apart only because torch takes seconds to import, and settings are read at every start.
"""
