"""From bytes to committed events: sessions, supervisor, pipeline, live board, bus, metrics."""
