"""Adapters from a bucket: fetched by what was registered, through networks that cut, stall and change bytes."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from tests.fix_adapters import MakeAdapter
from tests.fix_answering import Stack
from tests.fix_commands import Loradex
from tests.fix_sources import BUCKET, Bucket, MakeCache
from tests.repository import ROOT
from tests.stocked import EXAMPLES
from tests.toxic_proxy import Toxic

from loradex.db.session import connect
from loradex.errors import AdapterChangedError, AdapterRefusedError, AdapterUnavailableError
from loradex.library.adapter_cache import IN_USE_SECONDS, PART_SECONDS, TRIES, AdapterCache
from loradex.library.adapter_files import CONFIG, WEIGHTS, content_hash
from loradex.library.adapter_sources import RemotePlace

ADAPTERS = 20
TOXICS = (
    *(Toxic("refuse"), None, Toxic("cut", 700), None, None, Toxic("corrupt", 1500), Toxic("cut", 1500), None),
    *(
        Toxic("corrupt", 700),
        Toxic("cut", 90),
        None,
        None,
        Toxic("stall", 1200),
        Toxic("stall", 300),
        None,
        None,
    ),
)
FETCH = """
import sys
from pathlib import Path
from loradex.library.adapter_cache import AdapterCache

sys.stdin.readline()
cache = AdapterCache(Path(sys.argv[1]), 1 << 30, ("s3://adapters",), 0)
print(cache.locate(sys.argv[2]))
"""


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != ".lock")


def test_an_adapter_is_registered_from_a_bucket_and_verified(
    loradex: Loradex,
    bucket: Bucket,
    make_adapter: MakeAdapter,
    with_base_model: None,
    card_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = make_adapter("rte")
    url = bucket.put(directory, "models/rte")
    register = ("adapter", "register", f"{url}/", "--task", "tools", "--cards", card_directory)
    code, out, err = loradex(*register)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "add its beginning to LORADEX_ADAPTER_SOURCES" in err
    assert bucket.proxy.connections == 0
    monkeypatch.setenv("LORADEX_ADAPTER_SOURCES", f"hf://someone, s3://{BUCKET}/models/")
    code, out, err = loradex(*register, "--json")
    assert code == 0
    sizes = [path.stat().st_size for path in sorted(directory.iterdir())]
    made = json.loads(out)
    assert made["uri"] == f"{url}#{content_hash(directory)}:{sizes[0]}+{sizes[1]}"
    assert f"start it with LORADEX_ADAPTER_SOURCES=s3://{BUCKET}/models" in err
    assert loradex("adapter", "verify")[:2] == (0, "1 of 1 adapters are as they were registered\n")
    (copy,) = tmp_path.glob(f"**/cache/adapters/{content_hash(directory)}/{WEIGHTS}")
    copy.write_bytes(b"\0" * sizes[1])
    assert loradex("adapter", "verify")[0] == 0, "the copy is fetched anew"
    assert content_hash(copy.parent) == content_hash(directory)


@pytest.mark.usefixtures("with_base_model")
def test_the_three_commands_of_the_readme_run(
    loradex: Loradex,
    bucket: Bucket,
    make_adapter: MakeAdapter,
    card_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LORADEX_ADAPTER_SOURCES", f"s3://{BUCKET}")
    old = make_adapter("old", seed=1)
    weights = load((old / WEIGHTS).read_bytes())
    (old / WEIGHTS).unlink()
    torch.save(weights, old / "adapter_model.bin")
    places = {
        "/srv/adapters/old": str(old),
        "s3://models/rte": bucket.put(make_adapter("new", seed=2), "new"),
        "rte": "tools",
    }
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    section = page.partition("## Bring the adapters you have\n")[2]
    commands = [line.partition("#")[0].split()[1:] for line in section.split("```")[1].splitlines()[1:]]
    assert len(commands) == 3
    for words in commands:
        given = [places.get(word, word) for word in words]
        extra = ["--cards", card_directory] if "register" in given else []
        code, _, err = loradex(*given, *extra)
        assert code == 0, err
    listed = json.loads(loradex("adapter", "list", "--json")[1])
    assert [(one["version"], one["state"]) for one in listed] == [(2, "active")]


def test_twenty_adapters_come_whole_through_a_bad_network(
    bucket: Bucket, make_adapter: MakeAdapter, make_cache: MakeCache
) -> None:
    cache = make_cache(stalled_seconds=0.3)
    places = {}
    for seed in range(ADAPTERS):
        directory = make_adapter(f"a{seed}", seed=seed)
        places[content_hash(directory)] = str(make_cache("admin").adopt(bucket.put(directory, f"a{seed}"))[0])
    bucket.proxy.poison(itertools.islice(itertools.cycle(TOXICS), 3 * ADAPTERS))
    for sha256, place in places.items():
        assert content_hash(cache.locate(place)) == sha256
    assert entries(cache.directory) == sorted(places)
    asked = bucket.proxy.connections
    assert all(cache.locate(place).name == sha256 for sha256, place in places.items())
    assert bucket.proxy.connections == asked, "what is here is not fetched again"


def test_wrong_bytes_are_never_kept(bucket: Bucket, make_adapter: MakeAdapter, make_cache: MakeCache) -> None:
    one, other = make_adapter("one", seed=1), make_adapter("other", seed=2)
    place, _ = make_cache("admin").adopt(bucket.put(one, "rte"))
    cache = make_cache()
    bucket.put(other, "rte")
    with pytest.raises(AdapterChangedError, match="put the registered files back"):
        cache.locate(str(place))
    bucket.client.put_object(Bucket=BUCKET, Key=f"rte/{WEIGHTS}", Body=b"\0" * (20 << 20))
    before = bucket.proxy.forwarded
    with pytest.raises(AdapterChangedError, match="it has more bytes"):
        cache.locate(str(place))
    assert bucket.proxy.forwarded - before < 40 << 20, "none of four tries read it to its end"
    assert entries(cache.directory) == []
    bucket.put(one, "rte")
    assert content_hash(cache.locate(str(place))) == place.sha256


def test_a_place_that_is_away_is_said_and_left_alone_for_a_while(
    bucket: Bucket, make_adapter: MakeAdapter, make_cache: MakeCache
) -> None:
    place, _ = make_cache("admin").adopt(bucket.put(make_adapter(), "rte"))
    cache = make_cache()
    bucket.proxy.poison([Toxic("refuse")] * 4)
    with pytest.raises(AdapterUnavailableError, match="could not be fetched in 4 tries"):
        cache.locate(str(place))
    asked = bucket.proxy.connections
    with pytest.raises(AdapterUnavailableError, match="could not be fetched in 4 tries"):
        cache.locate(str(place))
    assert bucket.proxy.connections == asked
    assert make_cache().locate(str(place)).is_dir(), "another process asks again"
    with pytest.raises(AdapterUnavailableError, match="there is no such file"):
        make_cache("admin").adopt(f"s3://{BUCKET}/nothing")


def test_a_file_that_comes_too_slowly_is_given_up(
    bucket: Bucket, make_adapter: MakeAdapter, make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = make_cache("admin").adopt(bucket.put(make_adapter(), "rte"))
    monkeypatch.setattr("loradex.library.adapter_cache.START_SECONDS", 0.05)
    monkeypatch.setattr("loradex.library.adapter_cache.SLOWEST", 1 << 20)
    bucket.proxy.poison([Toxic("stall", 700)] * TRIES)
    started = time.monotonic()
    with pytest.raises(AdapterUnavailableError, match="could not be fetched"):
        make_cache(stalled_seconds=20).locate(str(place))
    assert time.monotonic() - started < 60, "it did not wait until nothing came for a while"


def test_processes_that_race_for_one_adapter_do_not_harm_each_other(
    bucket: Bucket, make_adapter: MakeAdapter, make_cache: MakeCache
) -> None:
    place, _ = make_cache("admin").adopt(bucket.put(make_adapter(), "rte"))
    directory = make_cache().directory
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", FETCH, str(directory), str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [racer.communicate(timeout=60)[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert told == [str(directory / place.sha256)] * 2
    assert content_hash(directory / place.sha256) == place.sha256
    assert entries(directory) == [place.sha256]


def test_what_was_not_asked_for_longest_goes_first_and_what_is_in_use_stays(
    bucket: Bucket, make_adapter: MakeAdapter, make_cache: MakeCache
) -> None:
    places = [
        make_cache("admin").adopt(bucket.put(make_adapter(f"a{seed}", seed=seed), f"a{seed}"))[0]
        for seed in range(4)
    ]
    cache = make_cache(budget=2 * places[0].bytes + 100)
    first, second, third, fourth = (place.sha256 for place in places)
    long_ago = cache.locate(str(places[0])).stat().st_mtime - 2 * IN_USE_SECONDS
    cache.locate(str(places[1]))
    cache.locate(str(places[2]))
    assert entries(cache.directory) == sorted([first, second, third]), "all in use: beyond the budget"
    os.utime(cache.directory / first, (long_ago, long_ago))
    os.utime(cache.directory / second, (long_ago - 1, long_ago - 1))
    cache.locate(str(places[0]))
    cache.locate(str(places[3]))
    assert entries(cache.directory) == sorted([first, third, fourth]), "the second was asked for longest ago"
    left = cache.directory / ".part-left"
    left.mkdir()
    os.utime(left, (long_ago, long_ago - PART_SECONDS))
    cache.locate(str(places[1]))
    assert not left.exists(), "what a killed process left is swept"


def test_a_disk_is_never_filled(
    bucket: Bucket, make_adapter: MakeAdapter, make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = make_cache("admin").adopt(bucket.put(make_adapter(), "rte"))
    asked = bucket.proxy.connections
    with pytest.raises(AdapterUnavailableError, match="must stay free"):
        make_cache(free_bytes=1 << 60).locate(str(place))
    huge = RemotePlace(place.url, place.sha256, place.config_bytes, 1 << 39)
    with pytest.raises(AdapterUnavailableError, match="are wanted"):
        make_cache().locate(str(huge))
    assert bucket.proxy.connections == asked
    # Of what is not registered yet no size is known.
    free = iter([1 << 40, 0, 0])
    monkeypatch.setattr(AdapterCache, "_free", lambda _: next(free))
    with pytest.raises(AdapterUnavailableError, match="must stay free"):
        make_cache("admin", free_bytes=1).adopt(place.url)
    assert entries(make_cache("admin").directory) == [place.sha256]


def test_what_is_not_allowed_is_not_fetched_whatever_is_stored(
    bucket: Bucket, make_adapter: MakeAdapter, make_cache: MakeCache
) -> None:
    place, _ = make_cache("admin").adopt(bucket.put(make_adapter(), "rte"))
    asked = bucket.proxy.connections
    for allowed in ((), ("s3://adapt",), ("hf://", "https://")):
        with pytest.raises(AdapterRefusedError, match="allowed places alone"):
            make_cache(allowed=allowed).locate(str(place))
    assert bucket.proxy.connections == asked


def test_two_workers_that_share_no_disk_answer_from_the_bucket(
    stack: Stack, bucket: Bucket, tmp_path: Path
) -> None:
    places = [
        RemotePlace(
            bucket.put(one.directory, f"shared/{task}"),
            one.sha256,
            *((one.directory / name).stat().st_size for name in (CONFIG, WEIGHTS)),
        )
        for task, one in stack.library.adapters.items()
    ]
    with connect(stack.database_url) as connection:
        for place in places:
            connection.execute(
                "update loradex.adapters set uri = %s where sha256 = %s", (str(place), place.sha256)
            )
    homes = [tmp_path / name for name in ("one", "two")]
    bucket.proxy.poison([Toxic("cut", 700), None, None, Toxic("corrupt", 1500), None, Toxic("refuse")])
    for home in homes:
        home.mkdir()
        stack.worker(
            HOME=str(home), ADAPTER_ROOTS="", ADAPTER_SOURCES=f"s3://{BUCKET}/shared", BATCH_ROWS="4"
        ).start(wait=False)
    for worker in stack.workers:
        worker.wait_ready()
    questions = [text for texts in EXAMPLES.values() for text in texts]
    with stack.client() as client:
        jobs = client.enqueue_many({"prompt": text, "k": 3, "max_new_tokens": 2} for text in questions)
        answers = [job.wait() for job in jobs]
        assert len(answers) == len(questions)
        used = {part["sha256"] for answer in answers for part in answer.mixture}
    assert used == {place.sha256 for place in places}
    kept = [home / "cache" / "adapters" for home in homes]
    fetched = [path for cache in kept if cache.is_dir() for path in cache.iterdir() if path.is_dir()]
    assert {path.name for path in fetched} == used
    assert all(content_hash(path) == path.name for path in fetched)
