"""Regressions: pooled, with effects, in differences, with instruments."""

from mcsim.estimators._regression.cluster_diagnostics import (
    ClusterDiagnostics as ClusterDiagnostics,
)
from mcsim.estimators._regression.cluster_diagnostics import (
    cluster_diagnostics as cluster_diagnostics,
)
from mcsim.estimators._regression.fixed_effects import fixed_effects as fixed_effects
from mcsim.estimators._regression.fixed_effects import half_panel_jackknife as half_panel_jackknife
from mcsim.estimators._regression.instruments import iv_2sls as iv_2sls
from mcsim.estimators._regression.instruments import liml as liml
from mcsim.estimators._regression.ols import between as between
from mcsim.estimators._regression.ols import first_difference as first_difference
from mcsim.estimators._regression.ols import ols as ols
from mcsim.estimators._regression.random_effects import random_effects as random_effects
