"""Where it comes from: git state, published modules, go.sum and checksum-database proofs."""
