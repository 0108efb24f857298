"""Assignments: which units are treated in which periods, as ``assignment(key, panel)``.

Any function that returns zeros and ones (unit, period) is an assignment; these are ready-made.
Periods are positions counted from 0; negative ones count from the end.
"""

from mcsim.dgps._assignment.permuted import permuted as permuted
from mcsim.dgps._assignment.random import at_random as at_random
from mcsim.dgps._assignment.random import by_cohort as by_cohort
from mcsim.dgps._assignment.random import in_random_periods as in_random_periods
from mcsim.dgps._assignment.selection import by_path as by_path
from mcsim.dgps._assignment.selection import by_probability as by_probability
from mcsim.dgps._assignment.selection import by_unit_factors as by_unit_factors
from mcsim.dgps._assignment.selection import (
    unit_factor_probabilities as unit_factor_probabilities,
)
