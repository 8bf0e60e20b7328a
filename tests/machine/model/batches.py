"""Reports on many tasks in one request, as docs/batches.md describes them."""

from tests.machine.model.base import Refused


class Batches:
    """A report in a batch gets the verdict that it gets alone."""

    def report_batch(self, worker_id, reports):
        """Apply these reports; return for each the status that its task now has, or the refusal."""
        first = {}
        for report in reports:
            first.setdefault(report["id"], report)
        verdicts = self._complete_at_once(worker_id, first.values())
        verdicts.update(self._decide(worker_id, [each for each in first.values() if each["id"] not in verdicts]))
        contradiction = Refused("invalid_request")
        return [verdicts[each["id"]] if each == first[each["id"]] else contradiction for each in reports]

    def _complete_at_once(self, worker_id, reports):
        """Complete the successes with tokens; where one of a type fails, the verdicts on that type come later."""
        verdicts = {}
        by_type = {}
        for report in reports:
            of_type = self.type_of_token(report["lease_token"])
            if report["success"] and of_type is not None:
                try:
                    self.refuse_result(of_type, report["result"])
                    by_type.setdefault(of_type, []).append(report)
                except Refused as refusal:
                    verdicts[report["id"]] = refusal
        for of_type in by_type.values():
            hit = []
            for report in of_type:
                task = self.tasks.get(report["id"])
                if task is not None and self.may_complete(task, worker_id, report["lease_token"]):
                    self.apply_result(task, report["result"])
                    hit.append(task)
            if len(hit) == len(of_type):
                verdicts.update((task["id"], "completed") for task in hit)
                self.tell_followers([task["id"] for task in hit if task["was_followed"]])
        return verdicts

    def _decide(self, worker_id, reports):
        """Decide on each report by the tasks as they are, then apply them all."""
        verdicts, successes, failures = {}, [], []
        for report in reports:
            token = report["lease_token"]
            try:
                task = self.find(report["id"])
                if report["success"]:
                    verdicts[task["id"]] = "completed"
                    if self.was_completed_so(task, worker_id, token):
                        continue
                    if not self.may_complete(task, worker_id, token):
                        self.refuse_late(task, worker_id, token)
                    self.refuse_result(task["type"], report["result"])
                    successes.append((task, report["result"]))
                    continue
                is_known = self.was_said(task, worker_id, token, "failed")
                if is_known or self.may_still_complete(task, worker_id, token):
                    verdicts[task["id"]] = task["status"]
                    continue
                self.refuse_late(task, worker_id, token)
                failures.append((task, report["retryable"], report["retry_after_seconds"]))
            except Refused as refusal:
                verdicts[report["id"]] = refusal
        for name in dict.fromkeys(task["type"] for task, _ in successes):
            of_type = [(task, result) for task, result in successes if task["type"] == name]
            for task, result in of_type:
                self.apply_result(task, result)
            self.tell_followers([task["id"] for task, _ in of_type if task["is_followed"]])
        self._fail_all(failures, verdicts)
        return verdicts

    def _fail_all(self, failures, verdicts):
        self.apply_failures(failures)
        verdicts.update((task["id"], task["status"]) for task, *_ in failures)
