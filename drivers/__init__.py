"""One module a wire protocol, found by a scan; the gateway names none of them.

A module here is a driver; a folder holds the pieces of a family of them. How to add a driver:

1. Copy ``drivers/nmea0183.py`` to ``drivers/<name>.py``. Write the wire structs the way the
   specification prints its tables (``drivers.wire``), the codec as a class that follows
   ``drivers.api.Codec``, and the manifest ``DRIVER`` at the end. Each key of its example has a
   comment on its line: `pdt-gateway init` writes them into a site's settings.
2. Write ``tests/vectors/<name>.toml``: at least one vector a message type, and one whose bytes come
   from outside our own encoder, with its origin in ``source``.
3. Run ``make test-driver D=<name>``: the battery runs every vector six ways and fuzzes the codec.
4. ``docs/drivers/<name>.md``: what is handled, refused, unknown, and how sure we are.

Nothing else is registered or edited.
"""
