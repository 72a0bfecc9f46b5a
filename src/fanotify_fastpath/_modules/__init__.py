"""Where handlers come from besides this process: packages, files, and the list that all processes share."""
