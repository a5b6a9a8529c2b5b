"""``python -m photocluster`` is the command line."""

from photocluster.cli import main

if __name__ == "__main__":
    main()
