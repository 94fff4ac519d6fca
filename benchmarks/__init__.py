"""lrx compared with its peers. Each module prints a table and, with `--json FILE`, writes its numbers."""
