"""Query-based change capture: everything that changes in WhiteBalloon's database, as events."""
