"""What is in it: one inventory, rendered in each format."""
