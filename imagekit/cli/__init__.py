"""How it is asked: one file a command."""
