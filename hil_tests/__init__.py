"""The bench: emulated devices, a rig that can be unplugged, scenarios a technician can read."""
