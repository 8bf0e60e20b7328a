"""Runs the machine on one server, with a seed."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as use_seed
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.machine import Machine


def run_machine(server, *, seed: int, examples: int, steps: int = 100, shrinks: bool = True) -> None:
    """Let Hypothesis draw so many examples of so many steps; raises with the shortest example that fails."""

    class OnThisServer(Machine):
        pass

    OnThisServer.server = server
    use_seed(seed)(OnThisServer)
    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink) if shrinks else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
