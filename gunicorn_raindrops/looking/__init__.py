"""What requests that take long are doing: looked at by the status thread, about once a second."""
