"""What a participant or an evaluator runs on their own machine: no Django, no database."""
