"""Torture: a whole queue with its clients, under faults of every kind, and the proof that nothing was lost."""
