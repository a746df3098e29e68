"""Imported last by the fork server: what is loaded by then every child's collector leaves alone.

A child that collects garbage would touch, and so copy, every page of it: a quarter of a second for
each of two hundred starts.
"""

import gc

gc.collect()
gc.freeze()
