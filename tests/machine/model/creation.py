"""Creating tasks: alone, in batches, as workflows; and what equal tasks mean (docs/tasks.md, docs/batches.md)."""

import copy
import json

from tests.machine.model.base import FINISHED, WAITING, Refused

BLANK = {
    "result": None,
    "failure_reason": None,
    "progress": 0,
    "attempts": 0,
    "claimed_by": None,
    "claimed_at": None,
    "first_claimed_at": None,
    "attempt_ends_at": None,
    "token": None,
    "completed_at": None,
    "schedule_id": None,
    "scheduled_for": None,
    "workflow_id": None,
}


class Created:
    """What came of one new task: the task, whether it was there already, and whether it was replaced.

    `seen` is the task as it is shown: what comes after it in a batch may change it again.
    """

    def __init__(self, task, is_duplicate=False, is_replaced=False, seen=None):
        self.task = task
        self.seen = seen or copy.deepcopy(task)
        self.is_duplicate = is_duplicate
        self.is_replaced = is_replaced


class Creation:
    """The verbs of producers. `ids` are those that the server gave to the new tasks, in order."""

    def create(self, asked, ids):
        (outcome,) = self.create_many([asked], ids)
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    def create_batch(self, asked, ids, *, atomic):
        """Create these tasks; return for each what came of it. With `atomic` all are created or none."""
        before = copy.deepcopy({**self.__dict__, "task_ids": None}) if atomic else None
        outcomes = self.create_many(asked, ids)
        if atomic and any(isinstance(outcome, Refused) for outcome in outcomes):
            self.__dict__.update(before, task_ids=self.task_ids)
            raise Refused("batch_refused")
        return outcomes

    def create_workflow(self, nodes, ids, workflow_id):
        """Create tasks that wait for each other by their names, as tasks of their own; return them by name."""
        followed = {name for node in nodes for name in node["depends_on"]}
        self._refuse_cycles(nodes)
        asked = [
            {
                **{name: value for name, value in node.items() if name != "depends_on"},
                "is_unique": True,
                "is_held": bool(node["depends_on"]),
                "is_followed": node["name"] in followed,
                "workflow_id": workflow_id,
            }
            for node in nodes
        ]
        outcomes = self.create_batch(asked, ids, atomic=True)
        by_name = {node["name"]: outcome.task for node, outcome in zip(nodes, outcomes, strict=True)}
        for node in nodes:
            by_name[node["name"]]["waits_for"] = {by_name[name]["id"]: True for name in node["depends_on"]}
        return by_name

    def _refuse_cycles(self, nodes):
        left = {node["name"]: set(node["depends_on"]) for node in nodes}
        while free := [name for name, waits in left.items() if not waits]:
            left = {name: waits - set(free) for name, waits in left.items() if name not in free}
        if left:
            raise Refused("cyclic_workflow")

    def create_many(self, asked, ids):
        """Create what is new, then meet the equal tasks; return an outcome for each, in order."""
        if self.is_draining:
            raise Refused("queue_draining")
        outcomes = [None] * len(asked)
        ids = iter(ids)
        fresh, others, known, seen = [], [], set(), {}
        for index, wanted in enumerate(asked):
            try:
                draft = self._draft(wanted)
            except Refused as refusal:
                outcomes[index] = refusal
                continue
            is_first = draft["equal"] is None or draft["equal"] not in known
            known.add(draft["equal"])
            existing = self._find_equal(draft) if is_first else None
            if is_first and existing is None:
                fresh.append((index, draft))
            else:
                if existing is not None:
                    seen[draft["equal"]] = copy.deepcopy(existing)
                others.append((not is_first, index, draft, wanted))
        joining = []
        for _, draft in fresh:
            joining += self._insert(draft, next(ids, None))
        if joining:
            self.join_line(joining)
        for index, draft in fresh:
            outcomes[index] = Created(draft)
            seen[draft["equal"]] = outcomes[index].seen
        for _, index, draft, wanted in sorted(others, key=lambda each: each[:2]):
            outcomes[index] = self._meet(draft, wanted, seen)
        return outcomes

    def _draft(self, wanted):
        """Return the task as it is if it waits for nothing but its time; raises Refused."""
        kind = self.find_type(wanted["type"])
        if not kind["is_active"]:
            raise Refused("task_type_inactive")
        if not isinstance(wanted["params"].get("n", 0), int):
            raise Refused("invalid_parameters")
        available_at = self.now + (wanted.get("delay_seconds") or 0)
        deadline_at = wanted.get("deadline_at")
        if deadline_at is not None and deadline_at <= available_at:
            raise Refused("instant_passed")
        depends_on = wanted.get("depends_on", [])
        if any(task_id not in self.tasks for task_id in depends_on):
            raise Refused("dependency_not_found")
        priority = wanted.get("priority", 0)
        return {
            **BLANK,
            "id": None,
            "type": wanted["type"],
            "params": wanted["params"],
            "priority": priority,
            "rank": self.rank_of(kind, priority, available_at, deadline_at),
            "max_attempts": kind["max_attempts"],
            "available_at": available_at,
            "deadline_at": deadline_at,
            "created_at": self.now,
            "updated_at": self.now,
            "key": wanted.get("concurrency_key"),
            "equal": self._equality(kind, wanted),
            "waits_for": dict.fromkeys(sorted(set(depends_on)), False),
            "on_failure": wanted.get("on_dependency_failure", "fail"),
            "is_held": wanted.get("is_held", False),
            "is_followed": wanted.get("is_followed", False),
            "schedule_id": wanted.get("schedule_id"),
            "scheduled_for": wanted.get("scheduled_for"),
            "workflow_id": wanted.get("workflow_id"),
            "was_followed": False,
        }

    def _equality(self, kind, wanted):
        """Return what makes two tasks equal, or None for a task that equals no other."""
        if wanted.get("is_unique"):
            return None
        if wanted.get("dedupe_key") is not None:
            return (kind["id"], "key", wanted["dedupe_key"])
        if kind["dedupe"] == "never":
            return None
        return (kind["id"], "params", json.dumps(wanted["params"], sort_keys=True))

    def _find_equal(self, draft):
        """Return the equal task that still counts; one that does not is not equal to anything any more."""
        if draft["equal"] is None:
            return None
        existing = next((task for task in self.tasks.values() if task["equal"] == draft["equal"]), None)
        if existing is None:
            return None
        kind = self.kind_of(draft)
        is_over = existing["status"] in FINISHED and kind["dedupe"] != "forever"
        window = kind["dedupe_window_seconds"]
        if is_over or (window is not None and existing["created_at"] <= self.now - window):
            existing["equal"] = None
            return None
        return existing

    def _insert(self, task, task_id):
        """Put the new task where it belongs; return it in a list if it is to join the line of its key."""
        kind = self.kind_of(task)
        kind["used"] += 1
        # Of a batch that is going to be refused as a whole nobody is told an id.
        task_id = task_id or self.last_task_id + 1
        task["id"] = task_id
        self.tasks[task_id] = task
        self.last_task_id = task_id
        self.attempts[task_id] = []
        state = "blocked" if task.pop("is_held") else self.state_by_prerequisites(task["waits_for"], task["on_failure"])
        unfinished = [each for each in task["waits_for"] if self.tasks[each]["status"] not in FINISHED]
        task["waits_for"] = {each: each in unfinished for each in task["waits_for"]}
        for each in unfinished:
            if not self.tasks[each]["is_followed"]:
                self.tasks[each].update(is_followed=True, updated_at=self.now)
        is_keyed = self.line_key(task) is not None
        task["is_followed"] = task["is_followed"] or is_keyed
        is_scheduled = task["available_at"] > self.now
        task["status"] = "scheduled" if is_scheduled else "pending"
        task["due_at"] = task["available_at"] if is_scheduled else self.gives_up_at(task)
        if state == "blocked":
            task.update(status="blocked", due_at=task["deadline_at"])
        elif state is not None:
            task["is_followed"] = False
            self.finish(task, state, failure_reason="dependency_failed" if state == "failed" else None)
        elif is_keyed and not is_scheduled:
            task["status"] = "blocked"
            return [task]
        return []

    def _meet(self, draft, wanted, seen):
        """Do with the equal task that is there, seen so, what the request or the type says."""
        existing = next(task for task in self.tasks.values() if task["equal"] == draft["equal"])
        action = wanted.get("on_duplicate") or self.kind_of(draft)["on_duplicate"]
        if action == "reject":
            return Refused("duplicate_task")
        if action == "replace" and existing["status"] in WAITING:
            self._replace(existing, draft)
            outcome = Created(existing, True, True)
            seen[draft["equal"]] = outcome.seen
            return outcome
        return Created(existing, True, seen=seen[draft["equal"]])

    def _replace(self, task, draft):
        """Let a waiting task take over what was asked for; what waits for others goes on waiting for them."""
        waits_for_others = task["status"] == "blocked" and self.place_of(task["id"]) is None
        task.update({name: draft[name] for name in ("params", "priority", "rank", "available_at", "deadline_at")})
        task.update(claimed_by=None, token=None, updated_at=self.now)
        if waits_for_others:
            task["due_at"] = task["deadline_at"]
        elif not task["is_followed"]:
            is_scheduled = task["available_at"] > self.now
            task["status"] = "scheduled" if is_scheduled else "pending"
            task["due_at"] = task["available_at"] if is_scheduled else self.gives_up_at(task)
        else:
            self.leave_line([task["id"]])
            self.enter([task])
