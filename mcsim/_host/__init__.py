"""Ordinary Python, lifted by `mcsim.host`: functions of frames, and the processes they run in."""
