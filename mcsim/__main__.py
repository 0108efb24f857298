"""``python -m mcsim`` is the command line."""

from mcsim.cli import main

if __name__ == "__main__":
    main()
