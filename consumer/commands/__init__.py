"""The commands that run or manage what runs all the time, one file each."""
