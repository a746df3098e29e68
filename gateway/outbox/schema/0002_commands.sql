-- What a start looks for: commands to radios that have no end yet.
CREATE INDEX commands ON telemetry_rows (seq)
  WHERE kind IN ('command_queued', 'command_sent', 'command_ended');
