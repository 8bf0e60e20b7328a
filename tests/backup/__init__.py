"""Backup and restore while the server runs."""
