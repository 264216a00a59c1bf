"""What the bytes say: ELF, Mach-O, PE, Go build info, Go function table. Facts with evidence, no judgement."""
