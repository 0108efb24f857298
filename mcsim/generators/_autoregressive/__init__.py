"""The autoregressive generator."""
