"""Differences in differences with staggered adoption."""

from mcsim.estimators._did.callaway_santanna import callaway_santanna as callaway_santanna
from mcsim.estimators._did.imputation import imputation as imputation
from mcsim.estimators._did.two_way import did as did
from mcsim.estimators._did.two_way import event_study as event_study
from mcsim.estimators._did.two_way import twfe_weights as twfe_weights
