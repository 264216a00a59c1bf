"""The checks: one rule a file, facts in, remarks out, no I/O."""
