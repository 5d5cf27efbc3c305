"""What supports a person in a scan, and what is attached to them."""
