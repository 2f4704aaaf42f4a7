"""mssmtp: an MSSanté operator in one program."""

__version__ = "0.1.0"
