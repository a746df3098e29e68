"""Ways in: serial, TCP, UDP, replay. A link moves bytes and knows nothing of what they mean."""
