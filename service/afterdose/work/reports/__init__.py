"""What became of doses, and what would become of them, for people to read."""
