"""Carry it: export, verify, load."""
