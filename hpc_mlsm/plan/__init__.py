"""From an inventory of what is there to tasks, and what they will cost."""
