"""The version of mcsim, read by the build and stored with every result."""

__version__ = "0.3.0.dev0"
