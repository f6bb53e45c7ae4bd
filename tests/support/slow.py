"""Marks of tests that take long: .ci/run has the slow ones, and .ci/run --full the others too."""

import os

import pytest

FULL = "MGRAL_FULL" in os.environ
SLOW = FULL or "MGRAL_SLOW" in os.environ
slow = pytest.mark.skipif(not SLOW, reason="slow: MGRAL_SLOW=1 make test runs it, as .ci/run does")
full = pytest.mark.skipif(not FULL, reason="very slow: MGRAL_FULL=1 make test runs it, as .ci/run --full does")
