"""How fast mcsim is, beside others: cases as data, contests in CPU seconds, a page of tables."""

from . import cells, effects, fits, main_job, regressions, starting
from .cases import Case

FAMILIES: dict[str, tuple[Case, ...]] = {
    "starting": starting.CASES,
    "regressions": regressions.CASES,
    "effects": effects.CASES,
    "cells": cells.CASES,
    "fits": fits.CASES,
    "large store": cells.LARGEST,
    "panel fits": fits.OF_PANELS,
    "main job": main_job.CASES,
}
"""Tables of the page, and the cases of each."""

IF_NAMED = ("large store", "panel fits", "main job")
"""Families that take long and run only if they are named."""
