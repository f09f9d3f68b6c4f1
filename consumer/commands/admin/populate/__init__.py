"""A PostgreSQL server with a community in it, for whoever wants to see everything run together."""
