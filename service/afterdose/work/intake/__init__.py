"""What senders bring: bytes in, arrivals to keep out. Whatever carries it, it comes through these doors."""
