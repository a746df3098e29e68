-- Committed events of the telemetry lane. kind is the event's type, or no_fix for a position_fix
-- without a valid fix; payload is the event's contract JSON; stored_at is nanoseconds since 1970, UTC;
-- checksum is CRC-32 of the payload, begun with seq.
CREATE TABLE telemetry_rows (
  seq INTEGER PRIMARY KEY,
  stored_at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  radio_id TEXT NOT NULL,
  checksum INTEGER NOT NULL,
  payload BLOB NOT NULL
);

-- Committed events of the emergency lane: never thinned. Both tables share one count of seq.
CREATE TABLE emergency_rows (
  seq INTEGER PRIMARY KEY,
  stored_at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  radio_id TEXT NOT NULL,
  checksum INTEGER NOT NULL,
  payload BLOB NOT NULL
);

-- The current state of every emergency; revision grows with each change and is drawn from seq;
-- checksum is CRC-32 of the state, begun with revision.
CREATE TABLE emergencies (
  emergency_id TEXT NOT NULL PRIMARY KEY,
  radio_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  phase TEXT NOT NULL,
  revision INTEGER NOT NULL,
  closed_at INTEGER,
  checksum INTEGER NOT NULL,
  state BLOB NOT NULL
);

-- How far each sink has come in each lane; checksum is CRC-32 of "sink/lane/seq".
CREATE TABLE cursors (
  sink TEXT NOT NULL,
  lane INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  PRIMARY KEY (sink, lane)
);

-- Rows that a sink will never take, with its reason.
CREATE TABLE set_aside (
  number INTEGER PRIMARY KEY,
  sink TEXT NOT NULL,
  lane INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  reason TEXT NOT NULL,
  payload BLOB NOT NULL,
  at INTEGER NOT NULL
);

CREATE INDEX set_aside_of_sink ON set_aside (sink, number);

-- Written and deleted to see whether the disk takes anything.
CREATE TABLE probe (
  number INTEGER PRIMARY KEY,
  filler BLOB NOT NULL
);

CREATE INDEX closed_emergencies ON emergencies (closed_at) WHERE phase = 'closed';
