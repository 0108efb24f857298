"""How close is a generator to the data? One table, with the reference rows beside it."""

from mcsim._fidelity.fidelity import fidelity as fidelity
from mcsim._fidelity.tables import FidelityTable as FidelityTable
from mcsim._fidelity.tables import PanelFidelityTable as PanelFidelityTable
