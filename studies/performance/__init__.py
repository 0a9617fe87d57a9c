"""What the fast implementations are meant to reach, and the page that says how far they got."""
