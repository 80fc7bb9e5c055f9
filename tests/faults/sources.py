"""Adapters from a bucket, fetched by processes on two disks while the network is bad and processes are killed."""

import itertools
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer
from tests.fix_adapters import CONFIG, safetensors_bytes, tensors
from tests.toxic_proxy import Toxic, ToxicProxy

from loradex.library.adapter_files import content_hash, read_files
from loradex.library.adapter_sources import RemotePlace

BUCKET = "adapters"
ADAPTERS, SHORT_ADAPTERS = 200, 20
KILLS, SHORT_KILLS = 12, 2
SEED = 11
DISKS = ("one", "one", "two")
"""Of each process, the disk that its cache lies on."""
KINDS = ("refuse", "cut", "stall", "corrupt")
EVERY = 5
"""One in so many connections is bad."""
LAST_BYTE = 1800
"""Of a reply that a toxic spoils, heads included."""

FETCH = """
import json, random, sys
from pathlib import Path
from loradex.errors import AdapterChangedError, AdapterUnavailableError
from loradex.library.adapter_cache import AdapterCache
from loradex.library.adapter_files import content_hash

home, places, seed = Path(sys.argv[1]), json.load(open(sys.argv[2])), int(sys.argv[3])
cache = AdapterCache(home, 1 << 30, ("s3://adapters",), 0, stalled_seconds=0.5, wait_seconds=0.02)
random.Random(seed).shuffle(places)
for sha256, place in places:
    while True:
        try:
            print(content_hash(cache.locate(place)) == sha256, flush=True)
            break
        except (AdapterUnavailableError, AdapterChangedError) as error:
            print(error.code, flush=True)
            cache.failures.clear()
"""


@dataclass(frozen=True)
class Fetching:
    """What came of it.

    Attributes:
        fetched: Adapters that processes had in the end, each with all of them.
        wrong: Answers of a process that were other bytes than the registered ones, and entries that are.
        refused: Times that a process was told that an adapter cannot be had now.
        kills: Processes that were killed while they fetched.
        connections: At the bucket.
        seconds: From the first process to the last.
    """

    fetched: int
    wrong: int
    refused: int
    kills: int
    connections: int
    seconds: float


def run_sources(adapters: int, kills: int, seed: int = SEED) -> Fetching:
    """Fetch so many adapters with three processes, of which now and then one is killed and started again."""
    numbers = random.Random(seed)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    proxy = ToxicProxy(server.get_host_and_port())
    try:
        with tempfile.TemporaryDirectory() as name:
            return _fetch(Path(name), proxy, adapters, kills, numbers)
    finally:
        proxy.close()
        server.stop()


def _fetch(root: Path, proxy: ToxicProxy, adapters: int, kills: int, numbers: random.Random) -> Fetching:
    places = root / "places.json"
    places.write_text(json.dumps(_stocked(root / "made", proxy.target, adapters)))
    proxy.poison(
        Toxic(numbers.choice(KINDS), numbers.randrange(LAST_BYTE)) if numbers.randrange(EVERY) == 0 else None
        for _ in range(100 * adapters)
    )
    started = time.monotonic()
    running = [_started(root / disk, places, proxy.port, number) for number, disk in enumerate(DISKS)]
    told: list[str] = []
    for _ in range(kills):
        number = numbers.randrange(len(DISKS))
        wanted = numbers.randrange(1, adapters // 2)
        assert running[number].stdout is not None
        told += [line.strip() for line in itertools.islice(running[number].stdout, wanted)]
        running[number].kill()
        told += running[number].communicate()[0].split()
        running[number] = _started(root / DISKS[number], places, proxy.port, number + len(DISKS))
    ends = [process.communicate()[0].split() for process in running]
    seconds = time.monotonic() - started
    told += [word for end in ends for word in end]
    entries = [path for disk in set(DISKS) for path in (root / disk).iterdir() if path.is_dir()]
    whole = [path for path in entries if not path.name.startswith(".part-")]
    wrong = sum(content_hash(path) != path.name for path in whole) + told.count("False")
    wrong += sum(process.returncode != 0 for process in running)
    return Fetching(
        fetched=min(end.count("True") for end in ends) if len(whole) == len(set(DISKS)) * adapters else 0,
        wrong=wrong,
        refused=sum(word not in {"True", "False"} for word in told),
        kills=kills,
        connections=proxy.connections,
        seconds=seconds,
    )


def _stocked(root: Path, target: tuple[str, int], adapters: int) -> list[tuple[str, str]]:
    """Adapters in a new bucket: content hash and stored address of each."""
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{target[0]}:{target[1]}",
        region_name="us-east-1",
        aws_access_key_id="for-tests",
        aws_secret_access_key="for-tests",
    )
    client.create_bucket(Bucket=BUCKET)
    stored = []
    for seed in range(adapters):
        directory = root / str(seed)
        directory.mkdir(parents=True)
        (directory / "adapter_config.json").write_text(json.dumps(dict(CONFIG)))
        (directory / "adapter_model.safetensors").write_bytes(safetensors_bytes(tensors(seed=seed)))
        for path in directory.iterdir():
            client.put_object(Bucket=BUCKET, Key=f"{seed}/{path.name}", Body=path.read_bytes())
        files = read_files(directory)
        place = RemotePlace(f"s3://{BUCKET}/{seed}", files.sha256, len(files.config), len(files.weights))
        stored.append((files.sha256, str(place)))
    return stored


def _started(disk: Path, places: Path, port: int, seed: int) -> "subprocess.Popen[str]":
    environment = {
        "AWS_ACCESS_KEY_ID": "for-tests",
        "AWS_SECRET_ACCESS_KEY": "for-tests",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(disk), str(places), str(seed)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
