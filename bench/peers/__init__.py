"""Other tools, run as their own documentation tells a user; each in its own environment, nothing of theirs here."""
