"""Generators and checks of the repository; not part of the server."""
