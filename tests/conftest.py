"""Tests neither fill nor read the user's compile cache."""

import os

os.environ["MCSIM_COMPILE_CACHE"] = ""

collect_ignore = ["data"]  # scripts that made stored references, with libraries that CI has not
