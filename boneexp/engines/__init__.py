"""Who runs the runs: an attempt under a lease, by worker processes on this machine."""
