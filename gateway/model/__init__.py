"""The words everybody shares: events, identities, quantities. No I/O, no clock."""
