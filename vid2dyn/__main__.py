"""``python -m vid2dyn``: the command line."""

from vid2dyn.cli import main

if __name__ == "__main__":
    main()
