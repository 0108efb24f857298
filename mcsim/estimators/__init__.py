"""Estimators in JAX: pure functions of a panel, ready to be vmapped over replications."""

from mcsim.estimators._methods import aipw as aipw
from mcsim.estimators._methods import difference_in_means as difference_in_means
from mcsim.estimators._methods import ipw as ipw
from mcsim.estimators._methods import matching as matching
from mcsim.estimators._methods import outcome_regression as outcome_regression
from mcsim.estimators._treatment_effect import TreatmentEffect as TreatmentEffect
