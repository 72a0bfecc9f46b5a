"""The daemon: a real one, started for each test, and its clients, which are ordinary users."""
