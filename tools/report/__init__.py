"""What an evaluation finds out, and the page that shows it."""
