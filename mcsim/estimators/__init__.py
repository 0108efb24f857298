"""Estimators in JAX: pure functions of a panel, ready to be vmapped over replications."""

from mcsim.estimators._cross_section import aipw as aipw
from mcsim.estimators._cross_section import difference_in_means as difference_in_means
from mcsim.estimators._cross_section import ipw as ipw
from mcsim.estimators._cross_section import matching as matching
from mcsim.estimators._cross_section import outcome_regression as outcome_regression
from mcsim.estimators._did import callaway_santanna as callaway_santanna
from mcsim.estimators._did import did as did
from mcsim.estimators._did import event_study as event_study
from mcsim.estimators._did import imputation as imputation
from mcsim.estimators._did import twfe_weights as twfe_weights
from mcsim.estimators._dynamic import arellano_bond as arellano_bond
from mcsim.estimators._native import NativeEstimator as NativeEstimator
from mcsim.estimators._regression import ClusterDiagnostics as ClusterDiagnostics
from mcsim.estimators._regression import between as between
from mcsim.estimators._regression import cluster_diagnostics as cluster_diagnostics
from mcsim.estimators._regression import first_difference as first_difference
from mcsim.estimators._regression import fixed_effects as fixed_effects
from mcsim.estimators._regression import half_panel_jackknife as half_panel_jackknife
from mcsim.estimators._regression import iv_2sls as iv_2sls
from mcsim.estimators._regression import liml as liml
from mcsim.estimators._regression import ols as ols
from mcsim.estimators._regression import random_effects as random_effects
from mcsim.estimators._synthetic import difp as difp
from mcsim.estimators._synthetic import synthetic_control as synthetic_control
from mcsim.estimators._synthetic import synthetic_did as synthetic_did
