"""The channel between driver and workers: TLS 1.3, a token, length-prefixed frames of JSON and file chunks."""
