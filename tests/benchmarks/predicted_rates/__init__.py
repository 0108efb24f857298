"""Predicted against true rejection rates: distributions, methods, errors of the rates."""
