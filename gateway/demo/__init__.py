"""The emulated town: teams, streets, walks, a button press."""
