"""`python -m lrx` is the command `lrx`."""

from .cli import main

if __name__ == "__main__":
    main()
