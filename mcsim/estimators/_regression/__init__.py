"""Regressions: pooled, with effects, in differences, with instruments."""

from mcsim.estimators._regression._between import between as between
from mcsim.estimators._regression._cluster_diagnostics import (
    ClusterDiagnostics as ClusterDiagnostics,
)
from mcsim.estimators._regression._cluster_diagnostics import (
    cluster_diagnostics as cluster_diagnostics,
)
from mcsim.estimators._regression._first_difference import first_difference as first_difference
from mcsim.estimators._regression._fixed_effects import fixed_effects as fixed_effects
from mcsim.estimators._regression._instruments import iv_2sls as iv_2sls
from mcsim.estimators._regression._instruments import liml as liml
from mcsim.estimators._regression._jackknife import half_panel_jackknife as half_panel_jackknife
from mcsim.estimators._regression._pooled import ols as ols
from mcsim.estimators._regression._random_effects import random_effects as random_effects
