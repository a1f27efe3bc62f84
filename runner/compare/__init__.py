"""Two runs side by side: what they were told, what they made, and whether that agrees."""
