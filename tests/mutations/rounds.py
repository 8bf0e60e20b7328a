"""Faults in who does it: the hold of housekeeping, its rounds, and slots for waiting."""

from tests.mutations.mutation import Mutation

_GUARDS_OF_WAITING = ("tests/queue/test_guards_of_waiting.py",)
_DUTIES = ("tests/housekeeping/test_duties.py",)
_WAITING = ("tests/queue/test_waiting.py",)

ROUNDS = (
    Mutation(
        "Housekeeping is done without looking at who holds it",
        "app/queue/duties.py",
        '            duties.c.held_until <= bindparam("now", type_=Instant),\n',
        "            duties.c.held_until.is_not(None),\n",
        _DUTIES,
    ),
    Mutation(
        "A holder that died is never replaced",
        "app/queue/duties.py",
        '            duties.c.held_until <= bindparam("now", type_=Instant),\n',
        "",
        _DUTIES,
    ),
    Mutation(
        "A hold is extended by whoever has lost it",
        "app/queue/duties.py",
        "_EXTEND = update(duties).where(*_held_by)",
        '_EXTEND = update(duties).where(_of_name, bindparam("by").is_not(None))',
        _DUTIES,
    ),
    Mutation(
        "A hold is released by whoever has lost it",
        "app/queue/duties.py",
        "    update(duties)\n    .where(*_held_by)\n",
        '    update(duties)\n    .where(_of_name, bindparam("by").is_not(None))\n',
        _DUTIES,
    ),
    Mutation(
        "A round goes on after it has lost its hold",
        "app/housekeeping/rounds.py",
        "while waiting and hold.keep():",
        "while waiting:",
        _DUTIES,
    ),
    Mutation(
        "A round begins without the hold",
        "app/housekeeping/rounds.py",
        "if is_held or not hold.take():",
        "if not hold.take() and False:",
        _DUTIES,
    ),
    Mutation(
        "A job that fails stops the others",
        "app/housekeeping/rounds.py",
        '        except Exception as error:\n            log.exception("the job',
        '        except ZeroDivisionError as error:\n            log.exception("the job',
        _DUTIES,
    ),
    Mutation(
        "A slot is taken by two at once",
        "app/queue/waiting.py",
        '        or_(duties.c.held_until.is_(None), duties.c.held_until <= bindparam("now", type_=Instant)),\n',
        '        bindparam("now", type_=Instant).is_not(None),\n',
        _GUARDS_OF_WAITING,
    ),
    Mutation(
        "A slot is given back by whoever has lost it",
        "app/queue/waiting.py",
        ', duties.c.holder == bindparam("by"))',
        ', bindparam("by").is_not(None))',
        _WAITING,
    ),
)
