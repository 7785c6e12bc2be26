"""What sources are asked for by ourselves: polls, Subscriptions, and what one of them only named."""
