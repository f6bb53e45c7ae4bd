"""`python -m mgral` is the command `mgral`."""

from mgral.cli.main import main

if __name__ == "__main__":
    main()
