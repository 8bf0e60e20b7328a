"""Plants every mutation and says which test catches it: `python -m tests.mutations [--only WORDS]`.

Progress goes to the standard error, the table, in Markdown, to the standard output. The exit code is 1 when a mutation
survives, and 2 when the list or the tests themselves are broken.
"""

import argparse
import sys
import time

from tests.mutations.runner import Broken, run_mutations
from tests.mutations.table import MUTATIONS, markdown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description="Plants faults; tests must fail.")
    parser.add_argument("--only", metavar="WORDS", default="", help="only mutations with these words in their names")
    only = parser.parse_args().only
    chosen = [mutation for mutation in MUTATIONS if only.lower() in mutation.name.lower()]
    if not chosen:
        parser.error(f"No mutation has “{only}” in its name; they stand in tests/mutations/.")
    began = time.monotonic()
    outcomes = []
    try:
        for outcome in run_mutations(chosen):
            outcomes.append(outcome)
            what = f"caught by {outcome.caught_by}" if outcome.caught_by else "SURVIVED"
            print(f"{len(outcomes)}/{len(chosen)} {outcome.mutation.name}: {what}", file=sys.stderr, flush=True)
    except Broken as error:
        print(error, file=sys.stderr)
        return 2
    print(markdown(outcomes))
    survived = [outcome.mutation.name for outcome in outcomes if outcome.caught_by is None]
    seconds = time.monotonic() - began
    caught = len(chosen) - len(survived)
    print(f"{caught} of {len(chosen)} mutations were caught in {seconds:.0f} s.", file=sys.stderr)
    for name in survived:
        print(f"SURVIVED: {name}. Write the test that catches it, or name it in the mutation's row.", file=sys.stderr)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
