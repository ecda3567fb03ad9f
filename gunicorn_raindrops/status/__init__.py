"""The status URL: what is answered there, to whom, and by whom."""
