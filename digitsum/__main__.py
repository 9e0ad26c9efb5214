"""`python -m digitsum`."""

from digitsum.cli import main

if __name__ == "__main__":
    main()
