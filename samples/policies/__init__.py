"""Policies, each a module that ``fanfp handlers load`` takes and a program; docs/policies.md is about them."""
