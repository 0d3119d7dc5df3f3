"""What a run writes down and how it is read again: its folder, its steps, its mistakes."""
