"""What is built from public names alone."""
