"""The engines: what makes events and runs handlers. None imports another."""
