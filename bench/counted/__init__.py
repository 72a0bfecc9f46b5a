"""
The counted benchmark: how many instructions open, read and close take, depending on who watches.

``make bench-kernel`` runs it in a virtual machine whose clock is the number of instructions, so that a difference of
one per cent is a difference in the work done and not in the weather.
"""
