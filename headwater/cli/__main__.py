"""`python -m headwater.cli`: the `headwater` program."""

from headwater.cli import main

if __name__ == "__main__":
    main()
