"""Setting up and checking an installation: for people and scripts, never loaded by the web application."""
