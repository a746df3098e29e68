"""The pieces of the Hytera drivers: HDAP and what carries it."""
