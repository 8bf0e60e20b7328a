"""The small cache in the process."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

from app.storage.cache import Cache


class Source:
    """Counts how often it is asked."""

    def __init__(self, value: Any = "value") -> None:
        self.value = value
        self.asked = 0

    def load(self) -> Any:
        self.asked += 1
        return self.value


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(seconds: float = 5, size: int = 3) -> tuple[Cache, Clock]:
    clock = Clock()
    return Cache(seconds, size, clock), clock


def test_a_value_is_kept_for_its_time_and_not_longer() -> None:
    cache, clock = make()
    source = Source()
    for moment, asked in ((0, 1), (4.9, 1), (5, 2), (9, 2), (10.1, 3)):
        clock.now = moment
        assert cache.get("key", source.load) == "value"
        assert source.asked == asked


def test_a_new_value_is_seen_when_the_time_is_over() -> None:
    cache, clock = make()
    source = Source("old")
    cache.get("key", source.load)
    source.value = "new"
    assert cache.get("key", source.load) == "old"
    clock.now = 5
    assert cache.get("key", source.load) == "new"


def test_what_the_process_found_out_is_kept_for_its_time_and_not_forgotten_with_the_rest() -> None:
    cache, clock = make(size=2)
    cache.keep("floor", 7, seconds=3)
    cache.clear()
    assert cache.recall("floor") == 7
    assert cache.peek("floor") is None
    clock.now = 3
    assert cache.recall("floor") is None
    for number in range(10):
        cache.keep(number, number, seconds=3)
    assert [number for number in range(10) if cache.recall(number) is not None] == [9]


def test_none_is_never_kept() -> None:
    cache, _clock = make()
    source = Source(None)
    assert cache.get("key", source.load) is None
    source.value = "there now"
    assert cache.get("key", source.load) == "there now"


def test_other_empty_values_are_kept() -> None:
    cache, _clock = make()
    for value in ([], 0, "", False):
        source = Source(value)
        assert [cache.get(repr(value), source.load) for _ in range(2)] == [value, value]
        assert source.asked == 1


def test_no_time_means_no_cache() -> None:
    cache, _clock = make(seconds=0)
    source = Source()
    cache.get("key", source.load)
    cache.get("key", source.load)
    assert source.asked == 2


def test_one_too_many_and_all_are_forgotten() -> None:
    cache, _clock = make(size=3)
    for key in "abcd":
        cache.get(key, Source(key).load)
    again = {key: Source("again") for key in "abcd"}
    assert [cache.get(key, again[key].load) for key in "dabc"] == ["d", "again", "again", "again"]


def test_what_was_being_loaded_when_all_was_forgotten_is_not_kept() -> None:
    cache, _clock = make()

    def load() -> str:
        cache.clear()
        return "old"

    assert cache.get("a", load) == "old"
    assert cache.get("a", Source("new").load) == "new"


def test_clear_forgets_everything() -> None:
    cache, _clock = make()
    source = Source()
    cache.get("key", source.load)
    cache.clear()
    cache.get("key", source.load)
    assert source.asked == 2


def test_a_load_that_fails_leaves_nothing_behind() -> None:
    cache, _clock = make()

    def fail() -> str:
        raise LookupError

    for _ in range(2):
        try:
            cache.get("key", fail)
        except LookupError:
            continue
        raise AssertionError
    assert cache.get("key", Source().load) == "value"


def test_a_loader_may_use_the_cache_itself() -> None:
    cache, _clock = make()
    assert cache.get("outer", lambda: cache.get("inner", Source().load)) == "value"


def test_many_threads_at_once_do_no_harm() -> None:
    cache = Cache(0.001, size=10)
    barrier = Barrier(8)
    wrong: list[object] = []

    def work(seed: int) -> None:
        barrier.wait()
        for step in range(2000):
            key = (seed * step) % 25

            def load(key: int = key) -> int:
                return key

            loader: Callable[[], int] = load
            if cache.get(key, loader) != key:
                wrong.append(key)

    threads = [Thread(target=work, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(cache._values) <= 10
