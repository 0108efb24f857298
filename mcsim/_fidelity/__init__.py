"""How close is a generator to the data? One table, with the reference rows beside it."""

from mcsim._fidelity._entry import fidelity as fidelity
from mcsim._fidelity._references import MultivariateNormal as MultivariateNormal
from mcsim._fidelity._references import RowBootstrap as RowBootstrap
from mcsim._fidelity._table import FidelityTable as FidelityTable
