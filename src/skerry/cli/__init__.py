"""The `skerry` command: one file a sub-command."""
