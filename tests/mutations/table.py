"""All mutations, and the table of them in docs/testing.md."""

from collections.abc import Iterable

from tests.mutations.claims import CLAIMS
from tests.mutations.creation import CREATION
from tests.mutations.ends import ENDS
from tests.mutations.followers import FOLLOWERS
from tests.mutations.foundations import FOUNDATIONS
from tests.mutations.leases import LEASES
from tests.mutations.lines import LINES
from tests.mutations.pure import PURE
from tests.mutations.rounds import ROUNDS
from tests.mutations.runner import Outcome
from tests.mutations.short_ways import SHORT_WAYS
from tests.mutations.upkeep import UPKEEP

MUTATIONS = (
    *PURE,
    *ENDS,
    *LEASES,
    *CLAIMS,
    *LINES,
    *CREATION,
    *FOLLOWERS,
    *UPKEEP,
    *ROUNDS,
    *FOUNDATIONS,
    *SHORT_WAYS,
)
HEADER = "| Planted fault | In | Caught by |"


def markdown(outcomes: Iterable[Outcome]) -> str:
    """Return the table as the page shows it."""
    lines = [HEADER, "|---|---|---|"]
    for outcome in outcomes:
        caught_by = f"`{outcome.caught_by}`" if outcome.caught_by else "SURVIVED"
        # Cells are parted by this sign.
        lines.append(f"| {outcome.mutation.name} | `{outcome.mutation.file}` | {caught_by.replace('|', '¦')} |")
    return "\n".join(lines)
