"""What people do, one function each: checked, recorded, and sent on its way in one transaction."""
