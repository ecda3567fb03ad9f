"""The native half: shared counters that keep the GIL, socket diagnosis that gives it up.

`_counters` and `_diag` are compiled by build.py. `Board`, `Slot` and friends are laid out in
counters.h; what each function promises stands there as well.
"""
