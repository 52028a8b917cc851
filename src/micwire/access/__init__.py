"""Who is asking, and may they: the ways to tell."""
