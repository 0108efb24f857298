"""Variances, bootstraps and permutations of a linear model, by name."""

from mcsim.estimators._variance._diagnostics import ClusterDiagnostics as ClusterDiagnostics
from mcsim.estimators._variance._diagnostics import cluster_diagnostics as cluster_diagnostics
