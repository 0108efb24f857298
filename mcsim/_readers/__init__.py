"""Readers of what host functions return: an `Estimate`, a fitted result, or a dict of either.

A result is read at once, because some objects change when they are used again. Which reader is
told by the name of the result's module; no library is imported to find out.
"""

from mcsim._readers._labels import UNNAMED as UNNAMED
from mcsim._readers._labels import UNTOLD as UNTOLD
from mcsim._readers._labels import FullLabel as FullLabel
from mcsim._readers._labels import full_label as full_label
from mcsim._readers._labels import label_all as label_all
from mcsim._readers._read import Terms as Terms
from mcsim._readers._read import read_result as read_result
from mcsim._readers._status import has_se as has_se
from mcsim._readers._status import settled as settled
