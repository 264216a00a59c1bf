"""The format: documents, layers, blob stores, archives, registries, engines, copy."""
