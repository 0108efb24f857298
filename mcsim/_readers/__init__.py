"""Readers of the results of host functions: an `Estimate`, a fitted result, or a dict of either.

A result is read at once, because some objects change when they are used again. Its reader is chosen
by the name of the result's module (`_READERS` of `read.py`); no library is imported for that. The
readers themselves stand in `libraries.py`.
"""

from mcsim._readers.coefficients import DEFAULT_ESTIMAND as DEFAULT_ESTIMAND
from mcsim._readers.coefficients import UNNAMED as UNNAMED
from mcsim._readers.coefficients import FullLabel as FullLabel
from mcsim._readers.coefficients import full_label as full_label
from mcsim._readers.coefficients import has_se as has_se
from mcsim._readers.coefficients import label_all as label_all
from mcsim._readers.coefficients import settled as settled
from mcsim._readers.read import Terms as Terms
from mcsim._readers.read import read_result as read_result
