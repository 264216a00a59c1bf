"""What to build: builds as configured, and the targets that their matrix expands to."""
