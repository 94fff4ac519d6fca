"""Side by side with the peers. Each module prints a table and, with `--json FILE`, writes its numbers."""
