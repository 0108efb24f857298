"""Figures of studies and generators; the only package that imports matplotlib.

``savefig`` of a figure writes PDF, SVG, and PNG at 300 dpi. Widths are those of a journal.
"""

from mcsim.plots._curves import lines as lines
from mcsim.plots._curves import nested_loop as nested_loop
from mcsim.plots._curves import power as power
from mcsim.plots._fidelity import fidelity as fidelity
from mcsim.plots._fidelity import marginals as marginals
from mcsim.plots._replications import estimates_and_se as estimates_and_se
from mcsim.plots._replications import p_values as p_values
from mcsim.plots._replications import zip_plot as zip_plot
from mcsim.plots._studies import bias as bias
from mcsim.plots._studies import comparison as comparison
from mcsim.plots._studies import coverage as coverage
from mcsim.plots._studies import forest as forest
from mcsim.plots._studies import lollipop as lollipop
from mcsim.plots._training import latent_grid as latent_grid
from mcsim.plots._training import losses as losses
from mcsim.plots._training import paths as paths
