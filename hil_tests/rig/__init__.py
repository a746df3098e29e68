"""What devices hang on: ptys that can be unplugged, a fault proxy."""
