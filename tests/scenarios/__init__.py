"""What users rely on, by real system calls on real filesystems; each scenario runs on each engine. They need root."""
