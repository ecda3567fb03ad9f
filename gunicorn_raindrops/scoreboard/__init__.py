"""The scoreboard: a slot per worker in shared memory."""
