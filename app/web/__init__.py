"""What every face over HTTP needs."""
