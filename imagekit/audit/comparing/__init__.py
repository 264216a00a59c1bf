"""How two programs, or two images, differ: facts, modules, settings, sizes, and the bytes themselves."""
