"""Macro panels: few units over many periods, with common shocks that are drawn anew."""

from mcsim.generators._macro.fitted_macro_panel import FittedMacroPanel as FittedMacroPanel
from mcsim.generators._macro.macro_panel import MacroPanel as MacroPanel
