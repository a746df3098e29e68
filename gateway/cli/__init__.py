"""The command line: `main.py` has the short commands, the others a file each."""
