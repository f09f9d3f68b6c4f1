"""Work in several processes: how many, spawned or forked."""
