"""Macro panels: few units over many periods, with common shocks that are drawn anew."""

from mcsim.generators._macro._fitted_macro_panel import FittedMacroPanel as FittedMacroPanel
from mcsim.generators._macro._macro_panel import MacroPanel as MacroPanel
