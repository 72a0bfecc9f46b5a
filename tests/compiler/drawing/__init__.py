"""Handlers drawn at random, with events that tell them apart: what is compiled must say of each what CPython says."""
