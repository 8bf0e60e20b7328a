"""The README's table of settings as it must be; run as a module it prints the table.

python -m tests.docs.settings_table
"""

from dataclasses import fields
from typing import Any

from app.policies import POLICIES
from app.settings import PREFIX, Settings


def settings_table() -> str:
    """Return the table, from the settings and policies themselves."""
    rows = [
        (PREFIX + setting.name.upper(), setting.default, setting.metadata)
        for setting in fields(Settings)
        if setting.name != "default_policies"
    ]
    rows += [(f"{PREFIX}DEFAULT_{name.upper()}", policy.default, policy.metadata) for name, policy in POLICIES.items()]
    lines = ["| Name | Default | Allowed | Meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {shown(default)} | {allowed(default, bounds)} | {bounds['meaning']} |"
        for name, default, bounds in rows
    ]
    return "\n".join(lines)


def shown(default: Any) -> str:
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return "`on`" if default else "`off`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def allowed(default: Any, bounds: Any) -> str:
    if isinstance(default, bool):
        return "`on`, `off`"
    if "choices" in bounds:
        return ", ".join(f"`{choice}`" for choice in bounds["choices"])
    if "low" in bounds:
        numbers = f"{bounds['low']} to {bounds['high']}"
        return f"{numbers}, `none`" if default is None else numbers
    if "names" in bounds:
        return "names of parameters, `none`"
    return "text, `none`" if default is None else "text"


if __name__ == "__main__":
    print(settings_table())
