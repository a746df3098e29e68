"""Ways out. A sink takes committed rows and says what became of each; it knows no other sink."""
