"""Versioned objects in SQLite, with their history for watches."""
