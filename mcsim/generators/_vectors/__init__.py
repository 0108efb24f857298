"""Panels as vectors of scores: what all generators that learn units share."""
