"""Performance measures of estimators, each with its Monte Carlo standard error."""

from mcsim.measures._compare import Comparison as Comparison
from mcsim.measures._compare import compare as compare
from mcsim.measures._definitions import MEASURES as _MEASURES
from mcsim.measures._detectable import detectable_effect as detectable_effect
from mcsim.measures._mcse import reps_needed as reps_needed
from mcsim.measures._summarize import summarize as summarize

MEASURES: tuple[str, ...] = tuple(_MEASURES)
"""Names of the measures, in the order of the columns that `summarize` returns."""
