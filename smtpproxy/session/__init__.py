"""What both ends are doing: octets and time in, effects and events out; no I/O, no clock."""
