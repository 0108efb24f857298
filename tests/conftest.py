"""Tests neither fill nor read the user's compile cache, and free what they compiled."""

import os

os.environ["MCSIM_COMPILE_CACHE"] = ""

import jax
import pytest

collect_ignore = ["data"]  # scripts that made stored references, with libraries that CI has not


@pytest.fixture(scope="module", autouse=True)
def free_programs():
    """Thousands of compiled programs would fill the memory of a small machine."""
    yield
    jax.clear_caches()
