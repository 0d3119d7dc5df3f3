from pathlib import Path

import pytest

from torchgraft.finetuning import machine


@pytest.fixture
def told(monkeypatch):
    """Makes files say something else; those not named are absent."""

    def tell(**files):
        def read_text(path, encoding=None):
            if path.name in files:
                return files[path.name]
            raise FileNotFoundError(path)

        monkeypatch.setattr(Path, "read_text", read_text)

    return lambda files: tell(**files)


MEMORY = {"meminfo": "MemTotal: 9000 kB\nMemAvailable: 4000 kB\n"}
LIMIT = {"memory.max": "3000000\n", "memory.current": "2000000\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (MEMORY, 4000 * 1024),
        ({**MEMORY, **LIMIT, "memory.stat": "anon 5\ninactive_file 500000\n"}, 1_500_000),
        ({**MEMORY, **LIMIT, "memory.max": "max\n", "memory.stat": ""}, 4000 * 1024),
        ({**MEMORY, **LIMIT, "memory.max": "99000000000", "memory.stat": ""}, 4000 * 1024),
        ({**MEMORY, **LIMIT, "memory.max": "1000000", "memory.stat": ""}, 0),
    ],
)
def test_memory_is_what_machine_and_container_leave(told, files, expected):
    told(files)
    assert machine.available_memory() == expected


def test_without_any_word_on_it(told, monkeypatch):
    told({})
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 10, "SC_PHYS_PAGES": 6}[name])
    assert machine.available_memory() == 30
    monkeypatch.delattr("os.sysconf")
    assert machine.available_memory() == 2 << 30


def test_of_this_machine():
    assert machine.available_memory() > 1 << 20
    assert machine.cores() >= 1


def test_cores_where_affinity_is_unknown(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert machine.cores() == 1
