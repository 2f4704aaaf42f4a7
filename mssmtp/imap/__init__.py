"""IMAP without sockets (RFC 3501): octets in, effects and octets out."""
