"""A PostgreSQL server with somebody in it, for whoever wants to see everything run together."""
