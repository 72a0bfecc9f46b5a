"""What every engine needs: the store of events, the second thread, mounts, processes, an event as handlers see it."""
