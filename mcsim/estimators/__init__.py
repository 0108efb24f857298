"""Estimators in JAX: pure functions of a panel, ready to be vmapped over replications."""

from mcsim.estimators._cross_section import aipw as aipw
from mcsim.estimators._cross_section import difference_in_means as difference_in_means
from mcsim.estimators._cross_section import ipw as ipw
from mcsim.estimators._cross_section import matching as matching
from mcsim.estimators._cross_section import outcome_regression as outcome_regression
from mcsim.estimators._native import NativeEstimator as NativeEstimator
