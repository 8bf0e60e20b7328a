"""Claims: which task a worker gets, as docs/workers.md, docs/batches.md and docs/limits.md describe it."""

from dataclasses import dataclass

from tests.machine.model.base import first_of

# A batch claim that finds less than it wants at first looks at so many more.
LOOKS_AT = 200


@dataclass(frozen=True)
class Order:
    """What a worker asks for."""

    worker_id: str
    types: tuple
    lease_seconds: int | None = None
    sort_by: str | None = None
    descending: bool = False
    max_tasks: int = 1
    # Whether a claim that finds nothing does what is due and looks again.
    does_what_is_due: bool = True


class Claims:
    """Claiming one task or many."""

    def claim(self, order):
        """Claim tasks and return them in the order of the answer; their tokens are told afterwards."""
        for name in order.types:
            self.find_type(name)
        self.workers.add(order.worker_id)
        taken = self._claim(order)
        if not taken and order.does_what_is_due and self.do_a_slice():
            taken = self._claim(order)
        return taken

    def note_tokens(self, tokens):
        """Write down the tokens that the server gave to claimed tasks."""
        for task_id, token in tokens.items():
            self.tasks[task_id]["token"] = token

    def _claim(self, order):
        is_open = {name: True for name in sorted(set(order.types)) if not self.types[name]["is_paused"]}
        if self.is_paused or order.worker_id in self.commands or not is_open:
            return []
        if order.max_tasks > 1:
            return self._claim_batch(order, is_open)
        task = self._claim_sorted(order, is_open) if order.sort_by is not None else self._claim_first(order, is_open)
        return [] if task is None else [task]

    def pending_of(self, types):
        """Return the pending tasks of these types in the order of claims."""
        pending = [task for task in self.tasks.values() if task["status"] == "pending" and task["type"] in types]
        return sorted(pending, key=lambda task: (task["rank"], task["id"]))

    def _sorted(self, order, types):
        pending = self.pending_of(types)
        if order.sort_by is None:
            return pending
        if order.sort_by == "deadline_at":
            with_deadline = [task for task in pending if task["deadline_at"] is not None]
            without = [task for task in pending if task["deadline_at"] is None]
            return [
                *sorted(with_deadline, key=lambda task: (task["deadline_at"], task["id"]), reverse=order.descending),
                *sorted(without, key=lambda task: task["id"], reverse=order.descending),
            ]
        return sorted(pending, key=lambda task: (task[order.sort_by], task["id"]), reverse=order.descending)

    def _claim_first(self, order, types):
        """Claim the first task; where the first of a type is overdue, all of the type that are overdue are given up."""
        while True:
            heads = {}
            for task in self.pending_of(types):
                heads.setdefault(task["type"], task)
            overdue = [name for name, task in heads.items() if self.is_overdue(task)]
            if not overdue:
                break
            self.give_up_waiting([task for task in self.pending_of(overdue) if self.is_overdue(task)])
        for name, task in heads.items():
            if not self._is_full(name):
                return self._take([task], order)[0]
        return None

    def _is_full(self, name):
        room = self.room_of_type(name)
        return room is not None and room <= 0

    def _claim_sorted(self, order, types):
        """Claim the first task in an order of the worker's own; what is overdue before it is given up on the way."""
        full = set()
        for task in self._sorted(order, types):
            if task["type"] in full or self._is_full(task["type"]):
                full.add(task["type"])
            elif self.is_overdue(task):
                self.give_up_waiting([task])
            else:
                return self._take([task], order)[0]
        return None

    def _claim_batch(self, order, types):
        """Claim the first tasks, as many as there is room for, look by look."""
        taken, wanted, looks_at = [], order.max_tasks, order.max_tasks
        while True:
            seen = self._sorted(order, types)[:looks_at]
            overdue = [task for task in seen if self.is_overdue(task)]
            self.give_up_waiting(overdue)
            good = [task for task in seen if task not in overdue][:wanted]
            got = set()
            for name in dict.fromkeys(task["type"] for task in good):
                of_type = [task for task in good if task["type"] == name]
                room = self.room_of_type(name)
                number = len(of_type) if room is None else max(0, min(room, len(of_type)))
                got |= {task["id"] for task in self._take(of_type[:number], order)}
                if number < len(of_type):
                    del types[name]
            taken += [task for task in good if task["id"] in got]
            wanted -= len(got)
            is_all = len(seen) < looks_at and len(overdue) + len(good) == len(seen)
            if wanted == 0 or not types or is_all:
                return taken
            looks_at = LOOKS_AT

    def _take(self, tasks, order):
        for task in tasks:
            kind = self.kind_of(task)
            seconds = order.lease_seconds or kind["lease_seconds"]
            timeout = kind["attempt_timeout_seconds"]
            attempt_ends_at = None if timeout is None else self.now + timeout
            task.update(
                status="claimed",
                claimed_by=order.worker_id,
                claimed_at=self.now,
                first_claimed_at=self.now if task["first_claimed_at"] is None else task["first_claimed_at"],
                attempt_ends_at=attempt_ends_at,
                due_at=first_of(self.now + seconds, attempt_ends_at),
                lease_seconds=seconds,
                attempts=task["attempts"] + 1,
                progress=0,
                result=None,
                updated_at=self.now,
                token="to be told",
                was_followed=task["is_followed"],
            )
            if kind["rate_limit"] is not None:
                kind["recent"].append(self.now)
            self.claimed.append((self.now, task["type"], task["key"]))
        counted = [task for task in tasks if self.counts_claims(self.kind_of(task))]
        if counted:
            self.count_claims(counted)
        return tasks
