"""The composition root: reads the configuration, builds the rooms, runs them. Nothing imports it."""
