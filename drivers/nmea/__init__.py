"""The pieces of the NMEA 0183 driver: sentences, epochs, the Kenwood dialect."""
