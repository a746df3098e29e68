"""What drivers that carry HDAP do with its messages, for their manifests; no ``DRIVER`` here."""

from drivers.api import Handles

HDAP_HANDLES = (
    Handles("RRS 0003", "registration", "radio_registered; answered by 0080", "published 2"),
    Handles("RRS 0001", "going offline", "radio_deregistered", "constructed 1"),
    Handles("RRS 0082", "status check answer", "alive, or radio_deregistered", "published 1"),
    Handles("LP A002", "immediate answer", "position_fix (request)", "published 6"),
    Handles("LP A003", "the same with signal strength", "position_fix (request)", "conflicting"),
    Handles("LP C003", "periodic report", "position_fix (time)", "constructed 1"),
    Handles("LP D003, D004", "condition report", "position_fix (unknown)", "published 1 (D004)"),
    Handles(
        "LP B003",
        "emergency report",
        "emergency_raised (alarm) with the place, position_fix (emergency)",
        "constructed 2",
    ),
    Handles("LP B004", "emergency report, variable", "emergency_raised in doubt", "name only"),
    Handles("LP B001, B002", "emergency stop", "emergency_ended (alarm)", "constructed 2"),
    Handles("LP C002, C005", "answers to a track and to its end", "alive", "constructed 1 (C002)"),
    Handles("LP D002, D012, E002", "answers to other requests", "alive", "one source"),
    Handles("RCP B843", "what the connected radio sends", "alive", "captured 4"),
    Handles(
        "RCP B844",
        "what the connected radio hears",
        "emergency_raised, emergency_ended (alarm, call), alive",
        "one source, constructed 4",
    ),
    Handles(
        "RCP B845",
        "what a repeater does",
        "emergency_raised, emergency_ended (alarm, call), alive",
        "captured 9, published 6; emergencies constructed 1",
    ),
    Handles(
        "RCP B0C8",
        "a status of the connected radio changed",
        "emergency_raised, emergency_ended (alarm, man_down, lone_worker), alive",
        "published 1; emergencies constructed 2",
    ),
    Handles("RCP 8452", "number of the connected radio", "its radio_id", "published 3"),
    Handles("TMP A1, B1", "text", "text; answered by A2, B2", "published 5; conflicting on acks"),
    Handles("TMP A2", "acknowledgement of a text of ours", "alive, or why not", "published 5"),
    Handles("TP A081, A082, B081", "telemetry", "alive", "one source"),
    Handles("DDS", "what became of a message of ours", "alive, or why not", "published 1"),
    Handles("LP A001", "where are you?", "sent for locate", "published 3"),
    Handles("LP C001, C004", "report periodically, stop", "sent for track", "constructed 1 (C001)"),
    Handles("LP B001", "leave the emergency", "sent for emergency_stop", "constructed 1"),
    Handles("RRS 0002, RCP 0833", "are you there?", "sent for check", "published 1 (0002)"),
    Handles("TMP A1", "text to a radio", "sent for text", "published 2"),
)
HDAP_REFUSES = (
    Handles("LP A004, D005", "variable reports", "acknowledged, not read", "layout not public"),
    Handles("RCP 0851, 0853", "alarm with sender, its end", "not read", "layout not public"),
    Handles("TMP AE, BE, AA to AD", "short data, work orders", "not read", "one source"),
    Handles(
        "TP inputs", "telemetry inputs as alarms", "not read", "meant differently by each site"
    ),
    Handles("DTP", "files", "named, not read", "one source"),
    Handles("RCP 0834, 0849, 084A", "remote monitor, disable, enable", "never sent", "not ours"),
)
