"""Definitions of studies as text and hashes, to compare a study with a store's."""
