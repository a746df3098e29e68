"""Who carries which radio: units, teams, sites, read from one file that people edit."""
