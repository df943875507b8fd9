"""What both ends are doing, and the events that say so: octets and time in, effects and events out; no I/O, no clock."""
