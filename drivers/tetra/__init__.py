"""The pieces of the TETRA driver: AT lines, short data, LIP."""
