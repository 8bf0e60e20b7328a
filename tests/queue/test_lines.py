"""Lines: limits per concurrency key hold without a check at the claim, and each key gets its turn."""

from collections import Counter

import pytest

from app.errors import LimitBelowRunning
from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.change import change_task
from app.queue.claim import claim_task
from app.queue.complete import complete_task
from app.queue.create_many import create_tasks
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.line import admit_due, recheck_lines
from app.queue.new_task import NewTask
from app.queue.register import change_type
from app.queue.release import release_task
from app.queue.report_batch import Report
from app.queue.take import ClaimOrder
from app.queue.tasks import read_task
from app.storage.models import concurrency_keys, line_places
from tests.support.factories import Queue
from tests.support.statements import counted_statements


def complete(queue, task):
    queue.do(complete_task, task["id"], worker_id=task["claimed_by"], lease_token=task["lease_token"], result=None)


def statuses(queue, tasks):
    return [TaskStatus(queue.do(read_task, task["id"])["status"]).word for task in tasks]


def do_all_that_is_due(queue):
    while queue.do(do_what_is_due) + queue.do(admit_due):
        pass


def claim_all(queue, kind):
    claimed = []
    while (task := queue.claim(kind)) is not None:
        claimed.append(task)
    return claimed


def key_of(task):
    return (task["extras"] or {}).get("concurrency_key")


def test_so_many_tasks_of_a_key_are_claimable_as_its_limit_allows(queue):
    kind = queue.register(key_max_concurrency=2)
    of_a = [queue.create(concurrency_key="a") for _ in range(4)]
    of_b = queue.create(concurrency_key="b")
    without = queue.create()
    assert statuses(queue, of_a) == ["pending", "pending", "blocked", "blocked"]
    assert statuses(queue, [of_b, without]) == ["pending", "pending"]
    claimed = claim_all(queue, kind)
    assert Counter(map(key_of, claimed)) == {"a": 2, "b": 1, None: 1}
    complete(queue, claimed[0])
    assert statuses(queue, of_a) == ["completed", "claimed", "pending", "blocked"]
    assert queue.must_claim(kind)["id"] == of_a[2]["id"]


def test_without_a_limit_a_key_holds_nobody_back(queue):
    kind = queue.register()
    tasks = [queue.create(concurrency_key="a") for _ in range(3)]
    assert statuses(queue, tasks) == ["pending"] * 3
    assert [task["id"] for task in claim_all(queue, kind)] == [task["id"] for task in tasks]


@pytest.mark.parametrize("end", ["fail", "retry", "retry at once", "release", "release later", "cancel", "expire"])
def test_whatever_ends_a_claim_makes_room_for_the_next(queue, clock, end):
    kind = queue.register(key_max_concurrency=1, lease_seconds=60, max_attempts=2, retry_delay_seconds=30)
    first, second = (queue.create(concurrency_key="a") for _ in range(2))
    claimed = queue.must_claim(kind)
    holder = {"worker_id": "w1", "lease_token": claimed["lease_token"]}
    report = {"error": "x", "retryable": end != "fail", "retry_after_seconds": 0 if end == "retry at once" else None}
    if end == "cancel":
        queue.do(cancel_task, first["id"])
    elif end.startswith("release"):
        queue.do(release_task, first["id"], **holder, delay_seconds=10 if end == "release later" else 0)
    elif end == "expire":
        clock.advance(seconds=60)
        do_all_that_is_due(queue)
    else:
        queue.do(fail_task, first["id"], **holder, **report)
    # Whoever is back in line is the first there: it was created before.
    is_first_again = end in ("retry at once", "release", "expire")
    expected = ["pending", "blocked"] if is_first_again else [None, "pending"]
    now = statuses(queue, [first, second])
    assert now[1] == expected[1]
    assert expected[0] in (None, now[0])
    assert queue.must_claim(kind)["id"] == (first if is_first_again else second)["id"]
    assert queue.claim(kind) is None
    clock.advance(seconds=30)
    do_all_that_is_due(queue)
    # What woke up meanwhile waits in line.
    assert queue.claim(kind) is None


def test_a_task_that_is_given_back_for_half_a_second_leaves_the_line(queue):
    kind = queue.register(key_max_concurrency=1)
    tasks = [queue.create(concurrency_key="a") for _ in range(2)]
    queue.must_claim(kind)
    queue.do(release_task, tasks[0]["id"], worker_id="w1", lease_token=None, delay_seconds=0.5)
    assert statuses(queue, tasks) == ["scheduled", "pending"]


def test_an_expired_task_in_line_may_still_be_completed_by_its_worker(queue, clock):
    kind = queue.register(key_max_concurrency=1, lease_seconds=60)
    low = queue.create(concurrency_key="a")
    claimed = queue.must_claim(kind)
    queue.create(concurrency_key="a", priority=5)
    clock.advance(seconds=60)
    do_all_that_is_due(queue)
    assert statuses(queue, [low]) == ["blocked"]
    complete(queue, claimed)
    assert statuses(queue, [low]) == ["completed"]
    assert queue.claim(kind) is not None


@pytest.mark.parametrize("way", ["release", "fail", "fail in a batch"])
def test_who_gives_a_task_up_hears_that_it_stands_in_line_again(queue, way):
    kind = queue.register(key_max_concurrency=1, retry_delay_seconds=0)
    queue.create(concurrency_key="a")
    task = queue.must_claim(kind)
    queue.create(concurrency_key="a", priority=9)
    holder = {"worker_id": "w1", "lease_token": task["lease_token"]}
    if way == "release":
        told = queue.do(release_task, task["id"], **holder, delay_seconds=0)["status"]
    elif way == "fail":
        report = {"error": "bad", "retryable": True, "retry_after_seconds": None}
        told = queue.do(fail_task, task["id"], **holder, **report)["status"]
    else:
        report = Report(task_id=task["id"], lease_token=task["lease_token"], is_success=False)
        (told,) = [TaskStatus.from_word(word) for word in queue.report(report)]
    assert told == TaskStatus.BLOCKED
    assert statuses(queue, [task]) == ["blocked"]


def test_a_rate_per_key_holds_in_any_window(queue, clock):
    kind = queue.register(key_rate_limit="2/60")
    for _ in range(7):
        queue.create(concurrency_key="a")
    queue.create(concurrency_key="b")
    claims = []
    for second in range(0, 240, 10):
        do_all_that_is_due(queue)
        claims += [(second, key_of(task)) for task in claim_all(queue, kind)]
        clock.advance(seconds=10)
    of_a = [second for second, key in claims if key == "a"]
    assert of_a == [0, 0, 60, 60, 120, 120, 180]
    assert [second for second, key in claims if key == "b"] == [0]


def test_a_claim_that_slept_on_its_way_is_not_forgotten_by_the_rate_of_its_key(queue, open_database, clock):
    kind = queue.register(key_rate_limit="2/10")
    other = Queue(open_database())
    for _ in range(6):
        queue.create(concurrency_key="a")
    assert len(claim_all(queue, kind)) == 2
    clock.advance(seconds=2)

    def claim(tx):
        # The process sleeps here, after it was told the time; meanwhile others go on.
        clock.advance(seconds=10)
        do_all_that_is_due(other)
        other.must_claim(kind)
        return claim_task(tx, [kind], ClaimOrder(worker_id="w2"))

    assert queue.database.write(claim, atomic=False) is not None
    # Whoever joins the line has a look at who may be admitted.
    queue.create(concurrency_key="a")
    assert other.claim(kind) is None


def test_who_joins_a_line_before_the_window_has_passed_waits_for_its_end(queue, clock):
    kind = queue.register(key_rate_limit="1/10")
    queue.create(concurrency_key="a")
    queue.must_claim(kind)
    clock.advance(seconds=9.5)
    later = queue.create(concurrency_key="a")
    assert statuses(queue, [later]) == ["blocked"]
    clock.advance(seconds=0.5)
    do_all_that_is_due(queue)
    assert statuses(queue, [later]) == ["pending"]


def test_what_waits_unclaimed_counts_against_the_rate(queue, clock):
    kind = queue.register(key_rate_limit="2/60")
    for _ in range(6):
        queue.create(concurrency_key="a")
    # Nobody asks for two windows: no more than two may be claimed at once then.
    clock.advance(seconds=120)
    do_all_that_is_due(queue)
    assert len(claim_all(queue, kind)) == 2


def test_an_expired_claim_counts_against_the_rate_again(queue, clock):
    kind = queue.register(key_rate_limit="1/100", lease_seconds=10)
    queue.create(concurrency_key="a")
    queue.must_claim(kind)
    clock.advance(seconds=10)
    do_all_that_is_due(queue)
    assert queue.claim(kind) is None
    clock.advance(seconds=90)
    do_all_that_is_due(queue)
    assert queue.claim(kind) is not None


def test_keys_take_turns_where_the_type_asks_for_it(queue, clock):
    kind = queue.register(key_order="round_robin")
    for key, number in (("a", 4), ("b", 2), (None, 2)):
        for _ in range(number):
            queue.create(concurrency_key=key)
            clock.advance(seconds=1)
    order = []
    while (task := queue.claim(kind)) is not None:
        order.append(key_of(task))
        clock.advance(seconds=1)
    assert order == ["a", "b", None, "a", "b", None, "a", "a"]


def test_within_a_key_the_highest_priority_comes_first(queue):
    kind = queue.register(key_max_concurrency=1)
    queue.create(concurrency_key="a")
    low, high = (queue.create(concurrency_key="a", priority=priority) for priority in (0, 5))
    order = []
    while (task := queue.claim(kind)) is not None:
        order.append(task["id"])
        complete(queue, task)
    assert order[1:] == [high["id"], low["id"]]


def test_a_lowered_limit_calls_back_what_is_not_claimed_yet(queue, clock):
    kind = queue.register(key_max_concurrency=5)
    tasks = [queue.create(concurrency_key="a") for _ in range(5)]
    claimed = queue.must_claim(kind)
    queue.register(key_max_concurrency=2)
    queue.do(recheck_lines, kind)
    do_all_that_is_due(queue)
    assert statuses(queue, tasks) == ["claimed", "pending", "blocked", "blocked", "blocked"]
    complete(queue, claimed)
    assert statuses(queue, tasks) == ["completed", "pending", "pending", "blocked", "blocked"]


def test_a_lowered_limit_does_not_call_back_what_is_claimed(queue):
    kind = queue.register(key_max_concurrency=2)
    first, last = queue.create(concurrency_key="a"), queue.create(concurrency_key="a")
    assert queue.must_claim(kind, sort_by="id", descending=True)["id"] == last["id"]
    queue.register(key_max_concurrency=1)
    do_all_that_is_due(queue)
    assert statuses(queue, [first, last]) == ["blocked", "claimed"]


def test_a_limit_per_key_is_not_lowered_below_what_is_claimed_of_one(queue):
    kind = queue.register(key_max_concurrency=2)
    for _ in range(2):
        queue.create(concurrency_key="a")
        queue.must_claim(kind)
    with pytest.raises(LimitBelowRunning):
        queue.do(change_type, "work", {"key_max_concurrency": 1})


def test_lines_are_looked_at_again_when_what_holds_for_keys_has_changed_and_only_then(queue):
    queue.register(key_max_concurrency=1)
    for _ in range(2):
        queue.create(concurrency_key="a")
    queue.do(change_type, "work", {"max_attempts": 9})
    assert queue.do(admit_due) == 0
    changes = {"key_max_concurrency": 2, "key_rate_limit": "9/60", "key_order": "round_robin"}
    queue.do(change_type, "work", changes)
    assert queue.do(admit_due) == 1


def test_a_raised_limit_lets_more_in(queue, clock):
    kind = queue.register(key_max_concurrency=1)
    tasks = [queue.create(concurrency_key="a") for _ in range(3)]
    queue.register(key_max_concurrency=3)
    queue.do(recheck_lines, kind)
    do_all_that_is_due(queue)
    assert statuses(queue, tasks) == ["pending"] * 3


def test_a_long_line_is_admitted_in_slices(queue, monkeypatch):
    monkeypatch.setattr("app.queue.line.SLICE", 3)
    kind = queue.register(key_max_concurrency=1)
    tasks = [queue.create(concurrency_key="a") for _ in range(10)]
    queue.register(key_max_concurrency=None)
    queue.do(recheck_lines, kind)
    queue.do(admit_due)
    assert statuses(queue, tasks).count("pending") == 4
    do_all_that_is_due(queue)
    assert statuses(queue, tasks) == ["pending"] * 10


def test_housekeeping_looks_at_a_line_once_when_it_can_move_and_never_else(queue, clock):
    kind = queue.register(key_rate_limit="2/60")
    tasks = [queue.create(concurrency_key="a") for _ in range(5)]
    looks = []
    for _ in range(4):
        looks += [queue.do(admit_due), queue.do(admit_due)]
        claim_all(queue, kind)
        looks.append(queue.do(admit_due))
        clock.advance(seconds=60)
    assert statuses(queue, tasks) == ["claimed"] * 5
    # At the end of the first two minutes; after that nobody is in line any more.
    assert looks == [0, 0, 0, *[1, 0, 0] * 2, 0, 0, 0]


def test_tasks_of_several_types_enter_the_lines_of_each(queue):
    kinds = [queue.register(name, key_max_concurrency=1) for name in ("first", "second")]
    new = [
        NewTask(type_name=name, params={"n": number}, concurrency_key="a")
        for number, name in enumerate(["first", "second", "first", "second"])
    ]
    queue.do(create_tasks, new)
    for kind in kinds:
        first = queue.must_claim(kind)
        assert queue.claim(kind) is None
        complete(queue, first)
        assert queue.must_claim(kind)["id"] > first["id"]


def test_nothing_is_left_of_a_key_when_all_is_done(queue, clock):
    kind = queue.register(key_max_concurrency=2, key_rate_limit="100/60", key_order="round_robin")
    for number in range(6):
        queue.create(concurrency_key="ab"[number % 2])
    while (task := queue.claim(kind)) is not None:
        complete(queue, task)
    do_all_that_is_due(queue)
    assert queue.do(lambda tx: tx.all(line_places.select())) == []
    # Their claims of the last minute are still to be counted.
    assert len(queue.do(lambda tx: tx.all(concurrency_keys.select()))) == 2
    clock.advance(seconds=60)
    do_all_that_is_due(queue)
    assert queue.do(lambda tx: tx.all(concurrency_keys.select())) == []


def test_a_line_of_a_dependent_begins_when_it_waits_for_nothing_else(queue):
    kind = queue.register(key_max_concurrency=1)
    first = queue.create()
    waiting = queue.create(concurrency_key="a", depends_on=[first["id"]])
    other = queue.create(concurrency_key="a")
    assert statuses(queue, [waiting, other]) == ["blocked", "pending"]
    complete(queue, queue.must_claim(kind))
    assert statuses(queue, [waiting, other]) == ["blocked", "pending"]
    complete(queue, queue.must_claim(kind))
    assert statuses(queue, [waiting]) == ["pending"]


def test_a_delayed_task_joins_the_line_when_it_wakes(queue, clock):
    kind = queue.register(key_max_concurrency=1)
    delayed = queue.create(concurrency_key="a", delay_seconds=10)
    now = queue.create(concurrency_key="a")
    assert statuses(queue, [delayed, now]) == ["scheduled", "pending"]
    clock.advance(seconds=10)
    do_all_that_is_due(queue)
    assert statuses(queue, [delayed, now]) == ["blocked", "pending"]
    complete(queue, queue.must_claim(kind))
    assert statuses(queue, [delayed]) == ["pending"]


def test_claims_of_a_type_that_only_limits_concurrency_per_key_cost_no_more(queue, database):
    kind = queue.register(key_max_concurrency=3)
    queue.create(concurrency_key="a")
    queue.create(concurrency_key="b")
    queue.must_claim(kind)
    with counted_statements(database) as seen:
        queue.must_claim(kind)
    assert len(seen) == 2


def test_a_task_that_nobody_started_in_time_fails_in_line_too(queue, clock):
    kind = queue.register(key_max_concurrency=1, expires_after_seconds=60, lease_seconds=600)
    queue.create(concurrency_key="a")
    waiting = queue.create(concurrency_key="a")
    claimed = queue.must_claim(kind)
    clock.advance(seconds=60)
    do_all_that_is_due(queue)
    assert queue.do(read_task, waiting["id"])["failure_reason"] == "deadline_passed"
    last = queue.create(concurrency_key="a")
    clock.advance(seconds=40)
    complete(queue, claimed)
    # Time in line counts.
    assert statuses(queue, [last]) == ["pending"]
    clock.advance(seconds=20)
    do_all_that_is_due(queue)
    assert statuses(queue, [last]) == ["failed"]


def test_a_lowered_limit_holds_at_once_for_who_is_admitted_by_another_process(queue, open_database):
    kind = queue.register(key_max_concurrency=3)
    other = Queue(open_database())
    first = other.create(concurrency_key="a")
    queue.register(key_max_concurrency=1)
    # The other process still has the type in its cache as it was.
    assert [TaskStatus(other.create(concurrency_key="a")["status"]).word for _ in range(2)] == ["blocked", "blocked"]
    assert other.must_claim(kind)["id"] == first["id"]
    assert other.claim(kind) is None


def test_where_keys_take_turns_another_priority_moves_who_is_in_line_and_not_whose_turn_it_is(queue):
    queue.register(key_order="round_robin")
    tasks = [queue.create(concurrency_key="a") for _ in range(2)]
    assert statuses(queue, tasks) == ["pending", "blocked"]
    moved = [queue.do(change_task, task["id"], priority=5)["claim_rank"] - task["claim_rank"] for task in tasks]
    assert moved == [0, -5]
