"""What every process that runs all the time has: signals, signs of life, what it says of itself and in the log."""
