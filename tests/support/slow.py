"""Marks tests that take half a minute or more each: .ci/run has them, and `MGRAL_SLOW=1 make test`."""

import os

import pytest

SLOW = "MGRAL_SLOW" in os.environ
slow = pytest.mark.skipif(not SLOW, reason="slow: MGRAL_SLOW=1 make test runs it, as .ci/run does")
