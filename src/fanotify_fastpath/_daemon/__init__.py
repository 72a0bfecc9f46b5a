"""The privileged process that serves users who may not watch by themselves: ``fanfpd``."""
