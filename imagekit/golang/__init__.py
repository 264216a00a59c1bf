"""The go command: toolchain, environments, packages and the files each target selects, modules, compile."""
