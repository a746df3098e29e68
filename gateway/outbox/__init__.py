"""The durable queue between radios and sinks. The commit here is what an acknowledgement means."""
