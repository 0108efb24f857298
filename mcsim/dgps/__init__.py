"""Data-generating processes: the bootstrap of a real panel, and learned potential outcomes."""

from mcsim.dgps._bootstrap import Bootstrap as Bootstrap
from mcsim.dgps._potential_outcomes import PotentialOutcomes as PotentialOutcomes

__all__ = ["Bootstrap", "PotentialOutcomes"]
