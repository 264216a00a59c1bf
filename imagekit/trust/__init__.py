"""Who says so: signatures and the one verification."""
