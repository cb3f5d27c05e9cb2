"""What a task will cost, who would hold what, and whether it would run."""
