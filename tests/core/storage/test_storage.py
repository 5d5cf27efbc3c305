"""Paths in a store: what they parse, list, read and write, and which errors they raise."""

import os
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support.object_store import BUCKET, ObjectStore

from cspine.core.errors import InputError, OutputError, OutputTakenError, SourceError
from cspine.core.files import append_line, atomic_folder, atomic_path, read_json, write_json, write_new_json
from cspine.core.jobs import ResumableJob
from cspine.core.storage import store
from cspine.core.storage.locations import as_path, is_remote, refuse_remote
from cspine.core.storage.read_ahead import READ_AHEAD, ReadAhead, read_many
from cspine.core.storage.remote_path import RemotePath
from cspine.core.storage.store import forget_stores


@pytest.fixture
def memory() -> RemotePath:
    """An empty bucket in memory."""
    forget_stores()
    path = as_path("memory://bucket/folder")
    assert isinstance(path, RemotePath)
    return path


@contextmanager
def web_server(pieces: Callable[[str], Iterator[bytes]], n_bytes: int) -> Iterator[str]:
    """Run a web server that answers any path by pieces of a known length in all."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Last-Modified", "Sun, 29 Nov 2026 10:00:00 GMT")
            self.send_header("Content-Length", str(n_bytes))
            self.end_headers()
            with suppress(OSError):
                for piece in pieces(self.path):
                    self.wfile.write(piece)

        def log_message(self, *_: object) -> None:
            pass

    forget_stores()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            forget_stores()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://b/x//y/", "s3://b/x/y"),
        ("S3://b/x", "s3://b/x"),
        ("gcs://b", "gs://b"),
        ("abfs://c/x", "az://c/x"),
        ("https://host:8443/a.zip", "https://host:8443/a.zip"),
        ("http://127.0.0.1:9000/a.zip", "http://127.0.0.1:9000/a.zip"),
    ],
)
def test_urls_are_paths_of_a_store(url: str, expected: str) -> None:
    path = as_path(url)

    assert is_remote(path)
    assert str(path) == str(as_path(Path(url))) == str(pickle.loads(pickle.dumps(path))) == expected
    assert str(path / "1" / "a.dcm") == f"{expected}/1/a.dcm"
    assert str((path / "1").relative_to(path)) == "1"


@pytest.mark.parametrize("text", ["studies/1", "/data", "C:/data", "C:\\data", "a:b", "file:///data"])
def test_other_locations_lie_on_the_disk(text: str) -> None:
    assert not is_remote(as_path(text))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://host/x", "is not read"),
        ("file+ssh://host/x", "is not read"),
        ("http://host.example/x", "is not read"),
        ("s3://user:secret@bucket/x", "environment"),
        ("https://host/x?X-Amz-Signature=secret", "environment"),
        ("s3:///x", "names no bucket"),
        ("s3://bucket/../x", "has . or .."),
        ("https://[bad/x", "is not valid"),
    ],
)
def test_other_urls_are_refused_without_their_secrets(url: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        as_path(url)

    assert "secret" not in str(caught.value).replace("may be a secret", "")


def test_what_needs_the_disk_says_so(memory: RemotePath) -> None:
    with pytest.raises(SourceError, match="has to be a file on this machine"):
        os.stat(memory)  # noqa: PTH116 - as a library does
    with pytest.raises(InputError, match="--run memory://bucket/folder: has to be a folder on this machine"):
        refuse_remote("--run", None, Path("x"), memory)
    with pytest.raises(OutputError, match="cannot append"):
        append_line(memory / "log", "line")
    with pytest.raises(OutputError, match="written as a whole"):
        (memory / "log").open("a")


def test_objects_are_listed_read_and_written(memory: RemotePath) -> None:
    (memory / "a" / "1.txt").write_text("one")
    with (memory / "2.bin").open("wb") as stream:
        stream.write(b"0123456789")

    assert sorted(str(path) for path in memory.iterdir()) == [str(memory / "2.bin"), str(memory / "a")]
    assert [path.is_dir() for path in sorted(memory.iterdir())] == [False, True]
    assert [name for name, _ in memory.walk_objects()] == ["2.bin", "a/1.txt"]
    assert [path.name for path in memory.glob("*.bin")] == ["2.bin"]
    assert (memory.is_dir(), memory.is_file(), (memory / "b").exists()) == (True, False, False)
    assert (memory / "2.bin").stat().st_size == 10
    with (memory / "2.bin").open("rb") as stream:
        stream.seek(-3, 2)
        assert stream.read() == b"789"
    assert (memory / "a/1.txt").open().read() == "one"
    for read in ((memory / "3").read_bytes, (memory / "3").read_text, (memory / "3").open):
        with pytest.raises(FileNotFoundError, match=r"^\[Errno 2\] No such object: 'memory://bucket/folder/3'$"):
            read()
    (memory / "2.bin").unlink()
    assert not (memory / "2.bin").exists()


def test_markers_of_folders_are_no_files(object_store: ObjectStore) -> None:
    for key in ("m/", "m/t/", "m/t/1.2/", "m/t/empty.txt", "new/"):
        object_store.client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    (as_path(f"s3://{BUCKET}/m") / "t" / "1.2" / "1.dcm").write_bytes(b"1")
    folder, new = as_path(f"s3://{BUCKET}/m"), as_path(f"s3://{BUCKET}/new")
    assert isinstance(folder, RemotePath)

    assert [(path.name, path.is_dir()) for path in folder.iterdir()] == [("t", True)]
    assert sorted(path.name for path in (folder / "t").iterdir()) == ["1.2", "empty.txt"]
    assert [name for name, _ in folder.walk_objects()] == ["t/1.2/1.dcm", "t/empty.txt"]
    assert list(new.iterdir()) == []


def test_a_block_that_fails_stores_nothing(memory: RemotePath) -> None:
    with suppress(ZeroDivisionError), atomic_path(memory / "x.txt") as part:
        part.write_text("half")
        _ = 1 / 0
    with suppress(ZeroDivisionError), (memory / "y.txt").open("w") as stream:
        stream.write("half")
        _ = 1 / 0
    for mode, half in (("w", "half"), ("wb", b"half")):
        stream = (memory / "z.txt").open(mode)
        stream.write(half)
        del stream  # nobody closed it

    assert not memory.exists()


def test_a_folder_is_replaced_as_a_whole(memory: RemotePath) -> None:
    for names in (["1", "2"], ["2", "3"]):
        with atomic_folder(memory) as part:
            for name in names:
                (part / name).write_text(name)

    assert [name for name, _ in memory.walk_objects()] == ["2", "3"]


def test_a_marker_is_written_once_and_a_job_is_resumed(memory: RemotePath) -> None:
    assert write_new_json(memory / "m.json", 1)
    assert not write_new_json(memory / "m.json", 2)
    assert read_json(memory / "m.json") == 1

    job = ResumableJob(memory / "job", "job.json", {"seed": 1})
    assert [job.open(), job.open()] == [False, True]
    with pytest.raises(OutputTakenError, match="was begun with another seed"):
        ResumableJob(memory / "job", "job.json", {"seed": 2}).open()
    write_json(memory / "other" / "x.json", 1)
    with pytest.raises(OutputTakenError, match="files of something else"):
        ResumableJob(memory / "other", "job.json", {}).open()


def test_objects_are_fetched_ahead_in_their_order(object_store: ObjectStore) -> None:
    folder = as_path(f"s3://{BUCKET}/many")
    assert isinstance(folder, RemotePath)
    names = [f"{number:03d}" for number in range(100)]
    for name in names:
        (folder / name).write_text(name)
    object_store.latency_s, object_store.most_at_once = 0.02, 0
    object_store.requests.clear()

    contents = list(read_many([folder / name for name in names]))

    assert contents == [name.encode() for name in names]
    assert len(object_store.requests) == 100
    assert 8 < object_store.most_at_once <= 32


def test_what_was_fetched_and_not_read_is_dropped(memory: RemotePath) -> None:
    for name in "ab":
        (memory / name).write_text(name)

    with READ_AHEAD.reading([memory / "a", memory / "b"]):
        assert READ_AHEAD.take(memory / "a", None) == b"a"
        assert READ_AHEAD.take(memory / "a", None) is None

    assert READ_AHEAD.take(memory / "b", None) is None


def write_objects(names: str) -> list[RemotePath]:
    """Write an object of each letter, which is its name and its content; return their paths."""
    paths = [as_path(f"s3://{BUCKET}/ahead/{name}") for name in names]
    for path in paths:
        path.write_bytes(path.name.encode())
    return [path for path in paths if isinstance(path, RemotePath)]


def test_what_is_read_out_of_turn_is_fetched_once(object_store: ObjectStore) -> None:
    paths = write_objects("abc")
    read_ahead = ReadAhead(max_objects=1)
    object_store.requests.clear()

    with read_ahead.reading(paths):
        assert [read_ahead.read_bytes(paths[index]) for index in (1, 0, 2)] == [b"b", b"a", b"c"]

    assert sorted(path for _, path, _ in object_store.requests) == [f"/{BUCKET}/ahead/{name}" for name in "abc"]


@pytest.mark.usefixtures("object_store")
def test_a_second_reader_is_served_when_the_first_one_leaves() -> None:
    paths = write_objects("abcd")
    read_ahead = ReadAhead(max_objects=2)

    first = ExitStack()
    first.enter_context(read_ahead.reading(paths[:2]))
    with read_ahead.reading(paths[2:]):
        first.close()
        assert read_ahead.take(paths[3], None) == b"d"


@pytest.mark.usefixtures("object_store")
def test_what_is_missing_is_said_in_one_sentence() -> None:
    sentence = r"s3://no-such-bucket/x.*: there is no such bucket; check its name"

    assert not as_path(f"s3://{BUCKET}/x").exists()
    with pytest.raises(SourceError, match=sentence):
        as_path("s3://no-such-bucket/x").exists()
    with pytest.raises(OutputError, match=sentence):
        as_path("s3://no-such-bucket/x/y").write_bytes(b"1")


def test_refused_credentials_are_said_without_quoting_them(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.answers = lambda method, path: 403  # noqa: ARG005
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    forget_stores()

    with pytest.raises(SourceError, match=r"s3://hospital/x: .*credentials") as caught:
        as_path(f"s3://{BUCKET}/x").exists()

    assert not any(secret in str(caught.value) for secret in ("another-secret", "test-key"))
    assert caught.value.__cause__ is None


def test_a_server_that_fails_for_a_moment_is_asked_again(object_store: ObjectStore) -> None:
    path = as_path(f"s3://{BUCKET}/x")
    path.write_bytes(b"1")
    failures = iter([503, 503])
    object_store.answers = lambda method, path: next(failures, None)  # noqa: ARG005

    assert path.read_bytes() == b"1"


def test_an_object_whose_name_is_not_valid_is_said(object_store: ObjectStore) -> None:
    object_store.client.put_object(Bucket=BUCKET, Key="z/a//b", Body=b"1")
    folder = as_path(f"s3://{BUCKET}/z")
    assert isinstance(folder, RemotePath)

    with pytest.raises(SourceError, match=r"an object's name is not valid: it has an empty part \(//\)"):
        folder.walk_objects()


@pytest.mark.parametrize(("pause_s", "is_read"), [(0.15, True), (5.0, False)])
def test_a_slow_answer_is_read_and_one_that_stalls_is_said(
    pause_s: float, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_READ_TIMEOUT", "800ms")
    monkeypatch.setattr(store, "_RETRY_TIMEOUT", timedelta(0))
    is_over = threading.Event()

    def pieces(path: str) -> Iterator[bytes]:  # noqa: ARG001
        for _ in range(7):
            yield b"1"
            is_over.wait(pause_s)

    with web_server(pieces, 7) as url:
        try:
            if is_read:
                assert as_path(f"{url}/x.bin").read_bytes() == b"1" * 7
            else:
                with pytest.raises(SourceError, match="too slow or cannot be reached; run again"):
                    as_path(f"{url}/x.bin").read_bytes()
        finally:
            is_over.set()


@pytest.mark.parametrize("name", ["a%20b.zip", "a b.zip"])
def test_escapes_of_a_url_are_sent_once(name: str) -> None:
    paths: list[str] = []

    def pieces(path: str) -> Iterator[bytes]:
        paths.append(path)
        yield b"1"

    with web_server(pieces, 1) as url:
        assert as_path(f"{url}/folder/{name}").read_bytes() == b"1"

    assert paths == ["/folder/a%20b.zip"]
