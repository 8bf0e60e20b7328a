"""The table of policies in docs/task-types.md as it must be; run as a module it prints the table."""

from app.policies import POLICIES
from tests.docs.settings_table import allowed, shown


def policies_table() -> str:
    """Return the table, from the policies themselves."""
    lines = ["| Policy | Default | Allowed | Meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {shown(policy.default)} | {allowed(policy.default, policy.metadata)} | "
        f"{policy.metadata['meaning']} |"
        for name, policy in POLICIES.items()
    ]
    return "\n".join(lines).replace("`none`", "`null`")


if __name__ == "__main__":
    print(policies_table())
