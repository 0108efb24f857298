"""Fitted generators on disk."""
