"""Tests of ``fanfp``."""
