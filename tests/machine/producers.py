"""What producers do: create tasks, alone, in batches and as workflows."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.machine.model import Refused
from tests.machine.model.base import UNFINISHED
from tests.machine.steps import A_TYPE, NEAR_PICKS, OUTCOMES, TYPE, Steps, instant

NUMBERS = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, "no integer"])
PRIORITIES = st.sampled_from([0, 0, 0, 5, -5, 1])
DELAYS = st.sampled_from([None, None, None, 0, 10, 60])
DEADLINES = st.sampled_from([None, None, None, 30, 100, 400])
KEYS = st.sampled_from([None, None, "a", "b"])
POLICIES = st.sampled_from(["fail", "cancel", "run_anyway"])
NEW_TASKS = st.fixed_dictionaries(
    {"type": A_TYPE, "number": NUMBERS},
    optional={
        "priority": PRIORITIES,
        "delay": DELAYS,
        "deadline": DEADLINES,
        "dedupe_key": st.sampled_from([None, "x"]),
        "key": KEYS,
        "on_duplicate": st.sampled_from([None, "return", "reject", "replace"]),
        "waits_for": st.lists(st.integers(0, 12), max_size=2),
        "on_failure": POLICIES,
    },
)
NODES = st.lists(
    st.tuples(TYPE, st.lists(st.integers(0, 3), max_size=2), POLICIES, KEYS, PRIORITIES), min_size=1, max_size=4
)
MOST_TASKS = 60


class Producers(Steps):
    """Rules of producers."""

    def has_room(self):
        return len(self.model.tasks) < MOST_TASKS

    @precondition(has_room)
    @rule(asked=NEW_TASKS)
    def create(self, asked):
        body, asked = self._read(asked)
        self._create(body, asked, {})

    @precondition(has_room)
    @rule(type_name=TYPE, number=st.integers(10, 99), priority=PRIORITIES, key=KEYS)
    def create_one_more(self, type_name, number, priority, key):
        body = {"type": type_name, "params": {"n": number}, "priority": priority, "concurrency_key": key}
        self._create(body, body, {})

    @precondition(has_room)
    @rule(type_name=TYPE, priorities=st.lists(PRIORITIES, min_size=2, max_size=5), key=KEYS)
    def create_several(self, type_name, priorities, key):
        for priority in priorities:
            # None equals another.
            self.create_one_more(type_name, 100 + self.model.last_task_id, priority, key)

    @precondition(has_room)
    @rule(type_name=TYPE, number=st.integers(1, 3), on_failure=POLICIES, key=KEYS, delay=DELAYS)
    def create_follower(self, type_name, number, on_failure, key, delay):
        """Create a task that waits for the latest of those that can still end."""
        body = {
            "type": type_name,
            "params": {"n": 100 + self.model.last_task_id},
            "concurrency_key": key,
            "delay_seconds": delay,
            "depends_on": [task["id"] for task in self.model.tasks.values() if task["status"] in UNFINISHED][-number:],
            "on_dependency_failure": on_failure,
        }
        self._create(body, body, {})

    @precondition(has_room)
    @rule(asked=NEW_TASKS, idempotency_key=st.sampled_from(["k1", "k2"]), is_again=st.booleans())
    def create_with_idempotency_key(self, asked, idempotency_key, is_again):
        first = self.model.answers.get(idempotency_key)
        if first is not None and is_again:
            answer = self.send("POST", "/tasks", first["body"], {"Idempotency-Key": idempotency_key})
            OUTCOMES["create_with_idempotency_key", "again"] += 1
            assert (answer.status, answer.data) == first["answer"], "another answer to the same request"
            return
        body, asked = self._read(asked)
        answer = self._create(body, asked, {"Idempotency-Key": idempotency_key}, first)
        if answer.status < 400:
            terms = {"body": body, "answer": (answer.status, answer.data), "at": self.model.now}
            self.model.answers.setdefault(idempotency_key, terms)

    def _create(self, body, asked, headers, first=None):
        answer = self.send("POST", "/tasks", body, headers)

        def verb():
            if first is not None and first["body"] != body:
                raise Refused("idempotency_key_reused")
            return self.model.create(asked, self._new_ids([answer.data] if answer.status == 201 else []))

        if first is not None and first["body"] == body:
            assert (answer.status, answer.data) == first["answer"]
            return answer
        name = "create_with_idempotency_key" if headers else "create"
        created = self.expect(name, answer, verb, status=(200, 201))
        if created is not None:
            self._check_created(answer.status, answer.data, created)
            OUTCOMES[name, "deduplicated" if created.is_duplicate else "new"] += 1
        return answer

    def _read(self, drawn):
        """Return the request, and the same as the model wants it: with instants as seconds."""
        model_knows = {
            "type": drawn["type"],
            "params": {"n": drawn["number"]},
            "priority": drawn.get("priority", 0),
            "delay_seconds": drawn.get("delay"),
            "dedupe_key": drawn.get("dedupe_key"),
            "concurrency_key": drawn.get("key"),
            "on_duplicate": drawn.get("on_duplicate"),
            "on_dependency_failure": drawn.get("on_failure", "fail"),
        }
        ids = list(self.model.tasks)
        waits_for = [self.pick(number, ids) or 10**9 for number in drawn.get("waits_for", []) if number < 12]
        waits_for += [10**9 for number in drawn.get("waits_for", []) if number == 12]
        if waits_for:
            model_knows["depends_on"] = waits_for
        deadline = drawn.get("deadline")
        deadline_at = None if deadline is None else self.model.now + deadline
        return {**model_knows, "deadline_at": instant(deadline_at)}, {**model_knows, "deadline_at": deadline_at}

    def _new_ids(self, shown):
        ids = [each["id"] for each in shown]
        assert all(task_id > self.model.last_task_id for task_id in ids), "an id was given out twice"
        return ids

    def _check_created(self, status, shown, created):
        assert status == (200 if created.is_duplicate else 201)
        assert (shown["deduplicated"], shown["replaced"]) == (created.is_duplicate, created.is_replaced)
        self.check_task(shown, created.seen)

    @precondition(has_room)
    @rule(drawn=st.lists(NEW_TASKS, min_size=1, max_size=4), atomic=st.booleans())
    def create_batch(self, drawn, atomic):
        read = [self._read(each) for each in drawn]
        answer = self.send("POST", "/tasks/batch", {"tasks": [body for body, _ in read], "atomic": atomic})
        new = [each["task"] for each in answer.data["results"] if each["status"] == 201] if answer.status == 200 else []
        asked = [asked for _, asked in read]
        outcomes = self.expect(
            "create_batch", answer, lambda: self.model.create_batch(asked, self._new_ids(new), atomic=atomic)
        )
        if outcomes is None:
            return
        counts = dict.fromkeys(("created", "deduplicated", "refused"), 0)
        for outcome, result in zip(outcomes, answer.data["results"], strict=True):
            if isinstance(outcome, Refused):
                assert (result["status"], result["code"]) == (outcome.status, outcome.code)
                counts["refused"] += 1
                OUTCOMES["create_batch: a task", outcome.code] += 1
                continue
            counts["deduplicated" if outcome.is_duplicate else "created"] += 1
            OUTCOMES["create_batch: a task", "deduplicated" if outcome.is_duplicate else "new"] += 1
            self._check_created(result["status"], result["task"], outcome)
        assert counts == {name: answer.data[name] for name in counts}

    @precondition(has_room)
    @rule(drawn=NODES, is_cyclic=st.sampled_from([False, False, False, True]))
    def create_workflow(self, drawn, is_cyclic):
        nodes = []
        for index, (type_name, waits_for, on_failure, key, priority) in enumerate(drawn):
            depends_on = sorted({f"node {number}" for number in waits_for if number < index})
            if is_cyclic and index == 0:
                depends_on = [f"node {len(drawn) - 1}"]
            nodes.append(
                {
                    "name": f"node {index}",
                    "type": type_name,
                    "params": {"n": index},
                    "depends_on": depends_on,
                    "on_dependency_failure": on_failure,
                    "concurrency_key": key,
                    "priority": priority,
                }
            )
        answer = self.send("POST", "/workflows", {"name": "graph", "tasks": nodes})
        data = answer.data if answer.status == 201 else {"id": None, "task_ids": {}}
        ids = [data["task_ids"].get(node["name"]) for node in nodes]
        made = self.expect(
            "create_workflow", answer, lambda: self.model.create_workflow(nodes, ids, data["id"]), status=201
        )
        if made is not None:
            self.workflow_ids.append(data["id"])

    @precondition(lambda self: self.workflow_ids)
    @rule(number=NEAR_PICKS)
    def look_at_workflow(self, number):
        workflow_id = self.pick(number, self.workflow_ids)
        of_workflow = [task for task in self.model.tasks.values() if task["workflow_id"] == workflow_id]
        answer = self.send("GET", f"/workflows/{workflow_id}")

        def verb():
            if not of_workflow:
                raise Refused("workflow_not_found")

        self.expect("look_at_workflow", answer, verb)
        if of_workflow:
            statuses = [task["status"] for task in of_workflow]
            assert answer.data["counts"] == {status: statuses.count(status) for status in statuses}
            shown = [(each["id"], each["status"]) for each in answer.data["tasks"]]
            assert shown == [(task["id"], task["status"]) for task in of_workflow]
