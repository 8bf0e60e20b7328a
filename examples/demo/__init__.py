"""What `make run` and `make serve` start: a database, the server, and for the demo tasks and a worker."""
