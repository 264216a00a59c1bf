"""Is it allowed: policy as data, rules in one visible tuple, findings, import chains, reports."""
