"""What the page of one task shows."""
