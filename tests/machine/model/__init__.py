"""The model: a second, naive implementation of the queue's rules in plain dictionaries, written from the documents.

It imports nothing of the program. Time is a number of whole seconds; nothing happens but by a call.
"""

from tests.machine.model.base import Refused
from tests.machine.model.batches import Batches
from tests.machine.model.claims import Claims, Order
from tests.machine.model.creation import Creation
from tests.machine.model.followers import Followers
from tests.machine.model.housekeeping import Housekeeping
from tests.machine.model.lines import Lines
from tests.machine.model.operations import Operations
from tests.machine.model.reports import Reports
from tests.machine.model.schedules import Schedules
from tests.machine.model.tasks import Tasks
from tests.machine.model.types import Types

__all__ = ["Model", "Order", "Refused"]


class Model(Types, Tasks, Creation, Followers, Lines, Claims, Reports, Batches, Housekeeping, Operations, Schedules):
    """All that there is in the queue."""

    def __init__(self, task_ids):
        self.now = 0
        self.types = {}
        self.tasks = {}
        # The unsuccessful attempts of each task, oldest first.
        self.attempts = {}
        # The lines, by the name of the type and the concurrency key.
        self.lines = {}
        self.schedules = {}
        self.operations = {}
        # The first answers to requests with an Idempotency-Key.
        self.answers = {}
        # Every claim that there ever was, for the limits.
        self.claimed = []
        self.is_paused = False
        self.is_draining = False
        # The workers that have been heard of, and what those are told that are commanded.
        self.workers = set()
        self.commands = {}
        self.last_task_id = 0
        # Tells which id the server gave to the task of a schedule's instant.
        self.task_ids = task_ids
