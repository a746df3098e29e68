"""The pieces of the MOTOTRBO drivers: MBXML, and who a peer is."""
