"""The native half: shared counters that keep the GIL, socket diagnosis that gives it up.

`_counters` and `_diag` are compiled by build.py. What is laid out how in shared memory, and what
each function promises, stands in the headers beside it.
"""
