"""Synthetic control, synthetic difference in differences, and demeaned synthetic control."""

from mcsim.estimators._synthetic.methods import difp as difp
from mcsim.estimators._synthetic.methods import synthetic_control as synthetic_control
from mcsim.estimators._synthetic.methods import synthetic_did as synthetic_did
