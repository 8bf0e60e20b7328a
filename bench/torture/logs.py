"""What the logs of the programs must not hold."""

from bench.torture.findings import Findings
from bench.torture.stage import Stage

_TRACE = "Traceback (most recent call last)"
_AROUND = 3000


def check_logs(stage: Stage, findings: Findings) -> None:
    """Look for errors that nobody has thought of, in the servers and in the torture's own programs."""
    for program in stage.servers:
        text = program.log.read_text(errors="replace")
        at = text.find(_TRACE)
        findings.check("no traceback in the log of a server", at < 0, f"{program.log}: {text[at : at + _AROUND]}")
    own = set((stage.folder / "logs").iterdir()) - {program.log for program in stage.servers}
    for log in sorted(own):
        text = log.read_text(errors="replace")
        findings.check("the torture's own programs work", _TRACE not in text, f"{log}: {text[-_AROUND:]}")
