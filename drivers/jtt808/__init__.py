"""The pieces of the JT/T 808 driver: frames, message bodies, dialogue."""
