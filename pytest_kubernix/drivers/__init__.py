"""Drivers: each makes clusters of one kind behind one contract (`base.py`).
`registry.py` knows them by name; nothing here is imported before a cluster is asked for."""
