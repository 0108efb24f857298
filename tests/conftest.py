"""Tests neither fill nor read the user's compile cache."""

import os

os.environ["MCSIM_COMPILE_CACHE"] = ""
