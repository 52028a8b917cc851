"""The catalogue: an index of all recordings in a database, made from their sidecars.

Nothing on the way of the sound comes here, and nothing is here that is not elsewhere.
"""
