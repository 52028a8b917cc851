"""The pure part: what micwire means, without a disk, a clock, dice or a socket."""
