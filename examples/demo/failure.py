"""What ends the program early."""


class Failure(Exception):
    """Something that a person must look at; the message is one sentence with what to do."""


class Stopped(Exception):
    """Somebody asked the program to stop: Ctrl-C, or a signal."""
