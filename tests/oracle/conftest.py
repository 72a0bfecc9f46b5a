"""The oracle plays on the same stage as the scenarios."""

from scenarios.conftest import _no_leaks, engine, how, other, stage

__all__ = ["_no_leaks", "engine", "how", "other", "stage"]
