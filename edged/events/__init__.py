"""What the daemon says, and its wire form."""
