"""Profile: which functions a kind of request spends the processor's time in."""

import cProfile
import pstats
from collections import Counter
from pathlib import Path

from app.settings import ROOT
from bench.costs.story import Request
from bench.costs.tellers import Ask

_SHOWN = 25


def profile(name: str, requests: list[Request], ask: Ask, path: Path) -> None:
    """Play these requests under Python's profiler, and print and write down its largest entries.

    It makes short functions look longer than they are: what it says is where to look, not how much there is to gain.
    """
    profiler = cProfile.Profile()
    profiler.enable()
    for request in requests:
        ask(request)
    profiler.disable()
    stats = pstats.Stats(profiler)
    packages: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for (file, line, function), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        package = _package(file)
        packages[package] += own
        functions[f"{package:12} {Path(file).name}:{line} {function}"] += own
    whole = sum(packages.values())
    lines = [f"{name}: {whole / len(requests) * 1_000_000:,.0f} µs under the profiler"]
    lines += [f"  {own / whole:6.1%}  {package}" for package, own in packages.most_common()]
    lines += [f"  {own / whole:6.1%}  {function}" for function, own in functions.most_common(_SHOWN)]
    print("\n".join(lines))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _package(file: str) -> str:
    if file.startswith(str(ROOT / "app")):
        return "app"
    _, found, below = file.partition("site-packages/")
    if found:
        return below.split("/")[0]
    return "built in" if file.startswith(("~", "<")) else "Python"
