"""Random programs of file operations, folded and compared with the tree; and with plain fanotify. They need root."""
