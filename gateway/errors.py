"""Whose fault it is, in the type.

::

    GatewayError
    ├── ConfigError           a setting is wrong; refused at start, names file and key
    ├── LinkError             the wire is gone, refused or timed out; the supervisor tries again
    ├── StoreError            the outbox cannot promise durability; no receipt goes to a radio
    │   └── StoreFullError    there is no room: on the disk, or in the queue before it
    │       └── ShedError     for telemetry; emergencies are still taken
    ├── SinkError             a sink cannot deliver now; tried again
    └── NotAllowedError       a person may not do this, or not in this state; told to that person

What a peer sends wrong is not an exception here: a codec reports it as a ``Reject``. A codec that
raises has a bug, and only the session catches that.
"""


class GatewayError(Exception):
    """The root of everything the gateway raises on purpose."""


class ConfigError(GatewayError):
    """A setting is wrong. The message names file, key, what was found and what would be right."""


class LinkError(GatewayError):
    """The wire is gone, refused or timed out. The message says which and why."""


class StoreError(GatewayError):
    """The outbox could not make an event durable; its sender must not be acknowledged."""


class StoreFullError(StoreError):
    """No space is left: on the disk, the reserve included, or in the outbox's queue."""


class ShedError(StoreFullError):
    """Telemetry is refused so that there is room for emergencies, which are still taken."""


class SinkError(GatewayError):
    """A sink cannot deliver now; the dispatcher offers the same rows again."""


class NotAllowedError(GatewayError):
    """A person's request cannot be granted; the message is shown to that person."""
