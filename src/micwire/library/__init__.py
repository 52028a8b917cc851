"""Where recordings end up: WAV files, their sidecars, and the register of closed ones."""
