"""How close is a generator of panels to the data? Inference first, beside reference rows."""

from mcsim._panel_fidelity._entry import fidelity as fidelity
from mcsim._panel_fidelity._table import PanelFidelityTable as PanelFidelityTable
