"""What happens to a stream on its way."""
