"""What the documentation says is executed and checked."""
