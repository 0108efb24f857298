"""Data-generating processes: panels with known truth, effects imposed on real ones, the bootstrap.

Parametric DGPs (`ErrorComponents`, `DynamicPanel`, `InteractiveEffects`, `LinearIV`), DGPs from
data (`Bootstrap`, `FactorModel`, `PotentialOutcomes`), and `with_effect`, which imposes
a known effect on any of them.
"""

from mcsim.dgps._assignment import at_random as at_random
from mcsim.dgps._assignment import by_cohort as by_cohort
from mcsim.dgps._assignment import by_path as by_path
from mcsim.dgps._assignment import by_probability as by_probability
from mcsim.dgps._assignment import by_unit_factors as by_unit_factors
from mcsim.dgps._assignment import in_random_periods as in_random_periods
from mcsim.dgps._assignment import permuted as permuted
from mcsim.dgps._assignment import unit_factor_probabilities as unit_factor_probabilities
from mcsim.dgps._bootstrap import Bootstrap as Bootstrap
from mcsim.dgps._dynamic_panel import DynamicPanel as DynamicPanel
from mcsim.dgps._effects import by_exposure as by_exposure
from mcsim.dgps._effects import heterogeneous as heterogeneous
from mcsim.dgps._factor_model import FactorModel as FactorModel
from mcsim.dgps._linear_iv import LinearIV as LinearIV
from mcsim.dgps._linear_panels import ErrorComponents as ErrorComponents
from mcsim.dgps._linear_panels import InteractiveEffects as InteractiveEffects
from mcsim.dgps._potential_outcomes import PotentialOutcomes as PotentialOutcomes
from mcsim.dgps._with_effect import with_effect as with_effect
