"""Who takes part, what they earned and why."""
