"""Estimators of the average effect on the treated in a cross-section."""

from mcsim.estimators._cross_section.methods import aipw as aipw
from mcsim.estimators._cross_section.methods import difference_in_means as difference_in_means
from mcsim.estimators._cross_section.methods import ipw as ipw
from mcsim.estimators._cross_section.methods import matching as matching
from mcsim.estimators._cross_section.methods import outcome_regression as outcome_regression
