"""What workers ask for: one task or many, of these types or those, in their own order."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine.model import Order, Refused
from tests.machine.steps import A_TYPE, OUTCOMES, TYPES, WORKER, WORKERS, Steps

SORTS = st.sampled_from([None, None, None, "created_at", "priority", "id", "attempts", "deadline_at"])
LEASES = st.sampled_from([None, None, 20, 90])


class Claiming(Steps):
    """Rules of workers that look for work."""

    @rule(
        worker_id=WORKER,
        types=st.lists(A_TYPE, min_size=1, max_size=3, unique=True),
        sort_by=SORTS,
        descending=st.booleans(),
        lease_seconds=LEASES,
        does=st.booleans(),
    )
    def claim(self, worker_id, types, sort_by, descending, lease_seconds, does):
        body = {"worker_id": worker_id, "types": types, "lease_seconds": lease_seconds}
        self._claim(body, tuple(types), sort_by, descending, does)

    @rule(worker_id=WORKER, does=st.booleans())
    def claim_of_all_types(self, worker_id, does):
        self._claim({"worker_id": worker_id, "type_pattern": "%"}, TYPES, None, False, does)

    @rule(worker_id=st.sampled_from([*WORKERS, "who was never seen"]), type_name=st.sampled_from(TYPES))
    def claim_by_number(self, worker_id, type_name):
        body = {"worker_id": worker_id, "task_type_id": self.model.types[type_name]["id"]}
        self._claim(body, (type_name,), None, False, True)

    def _order(self, body, types, sort_by, descending, does, max_tasks=1):
        if sort_by is not None:
            body.update(sort_by=sort_by, sort_order="desc" if descending else "asc")
        self.server.housekeeper.is_time = does
        return Order(
            worker_id=body["worker_id"],
            types=types,
            lease_seconds=body.get("lease_seconds"),
            sort_by=sort_by,
            descending=descending,
            max_tasks=max_tasks,
            does_what_is_due=does,
        )

    def _claim(self, body, types, sort_by, descending, does):
        order = self._order(body, types, sort_by, descending, does)
        answer = self.send("POST", "/tasks/claim", body)

        def verb():
            taken = self.model.claim(order)
            if not taken:
                command = self.model.commands.get(order.worker_id)
                raise Refused("no_available_tasks" if command is None else f"commanded_{command}")
            return taken

        taken = self.expect("claim", answer, verb)
        if taken is not None:
            self.note_claims([answer.data], taken)

    @rule(
        worker_id=WORKER,
        types=st.lists(A_TYPE, min_size=1, max_size=3, unique=True),
        sort_by=SORTS,
        descending=st.booleans(),
        max_tasks=st.integers(1, 5),
        does=st.booleans(),
    )
    def claim_batch(self, worker_id, types, sort_by, descending, max_tasks, does):
        self._claim_batch({"worker_id": worker_id}, types, sort_by, descending, max_tasks, does)

    def claim_of(self, worker_id, type_name, *, max_tasks):
        """Claim tasks of one type."""
        self._claim_batch({"worker_id": worker_id}, [type_name], None, False, max_tasks, False)

    def _claim_batch(self, body, types, sort_by, descending, max_tasks, does):
        body.update(types=types, max_tasks=max_tasks)
        order = self._order(body, tuple(types), sort_by, descending, does, max_tasks)
        answer = self.send("POST", "/tasks/batch/claim", body)
        taken = self.expect("claim_batch", answer, lambda: self.model.claim(order))
        if taken is not None:
            OUTCOMES["claim_batch: tasks", str(len(taken))] += 1
            self.note_claims(answer.data["tasks"], taken)
