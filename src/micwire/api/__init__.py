"""HTTP routes beside the sockets."""
