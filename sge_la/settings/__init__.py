"""What a run is asked to be: flags, their rules, what the papers fix, and the names of folders."""
