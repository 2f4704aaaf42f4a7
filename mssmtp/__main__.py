"""`python -m mssmtp` is the command `mssmtp`."""

from mssmtp.cli import main

if __name__ == "__main__":
    main()
