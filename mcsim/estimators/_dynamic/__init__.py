"""Dynamic panels."""

from mcsim.estimators._dynamic.arellano_bond import arellano_bond as arellano_bond
