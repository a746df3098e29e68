"""The desk's own store: one row per event id, emergencies, track history, accounts, audit."""
