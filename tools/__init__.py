"""Scripts of the project: building, generating, checking."""
