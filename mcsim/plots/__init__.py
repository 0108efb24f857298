"""Figures of studies and generators; the only part that draws."""

from mcsim.plots._fidelity import fidelity as fidelity
from mcsim.plots._fidelity import marginals as marginals
from mcsim.plots._studies import bias as bias
from mcsim.plots._studies import comparison as comparison
from mcsim.plots._studies import coverage as coverage
from mcsim.plots._studies import zip_plot as zip_plot
from mcsim.plots._training import latent_grid as latent_grid
from mcsim.plots._training import losses as losses
from mcsim.plots._training import paths as paths
