"""`pytest-kubernix up | down | list | gc | build | doctor | versions`: what fixtures do, without a test.
A module for each command; `main.py` is the way in, and options come from the same table as those of pytest."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
