"""The live scoreboard for Gunicorn."""
