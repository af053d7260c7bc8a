"""The native driver: real processes on this machine, from this project's own executables.
`driver.py` is the way in."""
