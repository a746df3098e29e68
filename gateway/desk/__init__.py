"""The desk: the live page and its API."""
