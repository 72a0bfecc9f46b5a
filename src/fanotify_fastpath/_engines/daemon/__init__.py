"""The engine of users without privilege: the daemon ``fanfpd`` watches for them, and fills a ring that is read here."""
