"""The words everybody shares: events, identities, positions, quantities. No I/O, no clock, no asyncio."""
