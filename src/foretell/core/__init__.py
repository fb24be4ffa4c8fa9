"""What every other layer stands on: errors, settings, files, the run log, the machine, progress."""
