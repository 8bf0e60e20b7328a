"""The tables at the end: which faults there were, and which invariants were looked at how often."""

from collections import Counter

from bench.torture.findings import Findings
from bench.torture.stage import Stage


def show_progress(stage: Stage, seconds: float, waiting: int, what: str) -> None:
    """Print how far it is."""
    created, ended = stage.board.totals()
    running = sum(program.is_running for program in stage.programs)
    print(
        f"{seconds:5.0f} s: {created:,} created, {ended:,} ended ({ended / max(seconds, 1):.0f} per second), "
        f"{waiting:,} wait; {running} of {len(stage.programs)} programs run; {what}",
        flush=True,
    )


def show_faults(counts: Counter[str]) -> None:
    """Print how often each kind of fault happened."""
    _show(("Fault", "Times"), [(name, f"{number:,}") for name, number in counts.items()])


def show_invariants(findings: Findings) -> None:
    """Print how often each invariant was checked, and how often it was broken."""
    rows = [(name, f"{findings.checked[name]:,}", f"{findings.breaches[name]:,}") for name in sorted(findings.checked)]
    _show(("Invariant", "Checked", "Breaches"), rows)
    for name, examples in findings.examples.items():
        print(f"\nBROKEN: {name}, {findings.breaches[name]} times, such as")
        for example in examples:
            print(f"  {example}")


def _show(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    print()
    for row in (head, tuple("-" * width for width in widths), *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())
    print(flush=True)
