"""One emulated device a protocol, each a small state machine."""
