"""One request, from begin over respond to end."""
