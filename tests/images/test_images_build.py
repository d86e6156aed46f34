"""ModelCars from directories and Containerfiles: the right place, the same bytes, words for what is refused."""

import os
import tarfile
import threading
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.images.handmade import NOW, model_image

from skerry.images.build import Compression, Options, build_containerfile, build_directory
from skerry.images.composition import Entry, spread
from skerry.images.containerfile import parse
from skerry.images.errors import BuildError
from skerry.images.manifest import OCI_LAYER, Platform, digest_of
from skerry.images.reference import parse_new_name
from skerry.images.store import ImageStore, StoredImage

XML = b'<layer id="1" name="x"/>\n' * 400


class Told:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        assert not total or done <= total


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    return directory


def fill(place: Path, *names: str) -> None:
    for name in names:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(XML if name.endswith(".xml") else name.encode())


def options(name: str = "bee:test", compression: Compression = "auto", created: int = 0) -> Options:
    return Options(parse_new_name(name), {}, Platform("amd64", "linux"), compression, created, NOW)


def contents(store: ImageStore, image: StoredImage) -> set[str]:
    tree = store.rootfs(image)
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}


# Directories


@pytest.mark.parametrize(
    ("names", "into"),
    [
        ("model.xml model.bin", "models/1"),
        ("model.onnx labels.txt", "models/1"),
        ("saved_model.pb variables/variables.index", "models/1"),
        ("m.tflite", "models/1"),
        ("m.pdmodel m.pdiparams", "models/1"),
        ("1/model.xml 1/model.bin 2/model.onnx", "models"),
        ("config.pbtxt 1/model.onnx", "models"),
        ("models/1/model.onnx", ""),
        ("model.joblib", "models"),
        ("config.json model.safetensors tokenizer.json", "models"),
        ("openvino_model.xml openvino_model.bin openvino_tokenizer.xml", "models"),
        ("m.gguf", "models"),
    ],
)
def test_a_model_goes_where_its_server_looks(store: ImageStore, place: Path, told: Told, names: str, into: str) -> None:
    fill(place, *names.split(), ".git/HEAD", ".gitattributes")
    image = build_directory(store, place, options(), told)
    assert contents(store, image) == {f"{into}/{name}".lstrip("/") for name in names.split()}
    assert store.find("localhost/bee:test") == image


def test_the_user_may_say_where(store: ImageStore, place: Path, told: Told) -> None:
    fill(place, "anything.dat")
    assert contents(store, build_directory(store, place, options(), told, into="/models/7/")) == {
        "models/7/anything.dat"
    }


def test_the_words_are_podmans(store: ImageStore, place: Path, told: Told) -> None:
    fill(place, "model.onnx", ".git/HEAD")
    image = build_directory(store, place, options(), told)
    assert told.steps == [
        "STEP 1/2: FROM scratch",
        f"STEP 2/2: COPY {place} /models/1",
        "COMMIT localhost/bee:test",
        f"--> {image.id[7:19]}",
        "Successfully tagged localhost/bee:test",
    ]
    assert told.notes == [f"left out of {place}, because hidden: .git"]


def test_the_image_follows_from_the_model_alone(tmp_path: Path, told: Told) -> None:
    images = []
    for number, umask in enumerate((0o022, 0o077)):
        before = os.umask(umask)
        try:
            place = tmp_path / f"model{number}"
            fill(place, *(["model.xml", "model.bin"] if number else ["model.bin", "model.xml"]))
            os.utime(place / "model.bin", (number, number))
            images.append(build_directory(ImageStore(tmp_path / f"store{number}"), place, options(), told))
        finally:
            os.umask(before)
    assert images[0].descriptor.digest == images[1].descriptor.digest


def test_a_chosen_time_is_kept(store: ImageStore, place: Path, told: Told) -> None:
    fill(place, "model.onnx")
    image = build_directory(store, place, options(created=1_700_000_000), told)
    assert image.config.created == "2023-11-14T22:13:20Z"
    assert (store.rootfs(image) / "models/1/model.onnx").stat().st_mtime == 1_700_000_000


def test_links_are_followed_so_that_the_image_is_complete(
    store: ImageStore, place: Path, told: Told, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/blob").write_bytes(b"weights")
    (place / "model.onnx").symlink_to("../cache/blob")
    tree = store.rootfs(build_directory(store, place, options(), told))
    assert (tree / "models/1/model.onnx").read_bytes() == b"weights"
    assert not (tree / "models/1/model.onnx").is_symlink()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "it is empty"),
        ([".hidden"], "it is empty"),
        (["readme.txt"], "no model in it is recognised.*--into /models"),
        (["model.xml"], "put model.bin beside it"),
    ],
)
def test_what_is_no_model_says_what_would_be(
    store: ImageStore, place: Path, told: Told, names: Sequence[str], words: str
) -> None:
    fill(place, *names)
    with pytest.raises(BuildError, match=words):
        build_directory(store, place, options(), told)
    assert store.list() == []


def test_places_that_cannot_be_packaged(store: ImageStore, place: Path, told: Told) -> None:
    with pytest.raises(BuildError, match="no such directory"):
        build_directory(store, place / "nowhere", options(), told)
    fill(place, "model.onnx")
    with pytest.raises(BuildError, match="it is a file"):
        build_directory(store, place / "model.onnx", options(), told)
    (place / "broken").symlink_to("nowhere")
    with pytest.raises(BuildError, match="link to something that is missing"):
        build_directory(store, place, options(), told)
    (place / "broken").unlink()
    (place / "circle").symlink_to(place)
    with pytest.raises(BuildError, match="link to a directory above itself"):
        build_directory(store, place, options(), told)
    (place / "circle").unlink()
    os.mkfifo(place / "pipe")
    with pytest.raises(BuildError, match="neither a file nor a directory"):
        build_directory(store, place, options(), told)


# Layers


def test_large_files_have_layers_of_their_own() -> None:
    big, source = 9 << 20, Path("x")
    tree = {
        "models": Entry(0o755),
        "models/1": Entry(0o755),
        "models/1/big.bin": Entry(0o644, source, big),
        "models/1/bigger.bin": Entry(0o644, source, big + 1),
        "models/1/small.xml": Entry(0o644, source, 5),
        "models/empty": Entry(0o755),
    }
    assert spread(tree) == [
        ["models", "models/1", "models/1/small.xml", "models/empty"],
        ["models", "models/1", "models/1/big.bin"],
        ["models", "models/1", "models/1/bigger.bin"],
    ]
    assert spread(tree, room=2) == [
        ["models", "models/1", "models/1/big.bin", "models/1/small.xml", "models/empty"],
        ["models", "models/1", "models/1/bigger.bin"],
    ]
    alone = {path: tree[path] for path in ("models", "models/1", "models/1/big.bin")}
    assert spread(alone) == [["models", "models/1", "models/1/big.bin"]]


def test_a_new_version_shares_the_layers_that_did_not_change(store: ImageStore, place: Path, told: Told) -> None:
    fill(place, "model.xml")
    (place / "model.bin").write_bytes(os.urandom(9 << 20))
    first = build_directory(store, place, options(), told)
    (place / "model.xml").write_bytes(XML + b"<!-- second -->")
    second = build_directory(store, place, options(), told)
    assert [len(image.manifest.layers) for image in (first, second)] == [2, 2]
    assert first.manifest.layers[1] == second.manifest.layers[1]
    assert first.manifest.layers[0] != second.manifest.layers[0]


@pytest.mark.parametrize(
    ("content", "compression", "media_type"),
    [
        (XML, "auto", f"{OCI_LAYER}+gzip"),
        (os.urandom(20_000), "auto", OCI_LAYER),
        (XML, "none", OCI_LAYER),
        (os.urandom(20_000), "gzip", f"{OCI_LAYER}+gzip"),
    ],
)
def test_only_what_gains_is_compressed(
    store: ImageStore, place: Path, told: Told, content: bytes, compression: Compression, media_type: str
) -> None:
    (place / "model.onnx").write_bytes(content)
    image = build_directory(store, place, options(compression=compression), told)
    assert [layer.media_type for layer in image.manifest.layers] == [media_type]
    assert (store.rootfs(image) / "models/1/model.onnx").read_bytes() == content


def test_layers_are_plain_tar_for_everybody(store: ImageStore, place: Path, told: Told) -> None:
    fill(place, "model.xml", "model.bin")
    image = build_directory(store, place, options(compression="none"), told)
    with tarfile.open(store.blobs.path(image.manifest.layers[0].digest)) as archive:
        members = {member.name: member for member in archive.getmembers()}
    assert list(members) == ["models", "models/1", "models/1/model.bin", "models/1/model.xml"]
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members.values()} == {(0, 0, "", 0)}
    assert [member.mode for member in members.values()] == [0o755, 0o755, 0o644, 0o644]


# Containerfiles

WALKTHROUGH = """\
FROM quay.io/microshift/busybox:1.37
RUN mkdir -p /models/1 && chmod -R 755 /models/1
RUN wget -q -P /models/1 \\
  {server}/resnet50-binary-0001.bin \\
  {server}/resnet50-binary-0001.xml
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the files of a directory on this machine."""
    files = tmp_path / "served"
    files.mkdir()
    (files / "resnet50-binary-0001.bin").write_bytes(b"weights")
    (files / "resnet50-binary-0001.xml").write_bytes(XML)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(files))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

        def do_GET(self) -> None:
            if self.path in {"/moved", "/unsafe"}:
                self.send_response(302)
                target = "/resnet50-binary-0001.bin" if self.path == "/moved" else "http://example.com/x"
                self.send_header("Location", target)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join(timeout=10)


def test_the_walkthroughs_containerfile(store: ImageStore, place: Path, told: Told, server: str) -> None:
    image = build_containerfile(store, WALKTHROUGH.format(server=server), place, options("ovms-resnet50:test"), told)
    assert contents(store, image) == {"models/1/resnet50-binary-0001.bin", "models/1/resnet50-binary-0001.xml"}
    assert told.steps[:3] == [
        "STEP 1/3: FROM quay.io/microshift/busybox:1.37",
        "STEP 2/3: RUN mkdir -p /models/1 && chmod -R 755 /models/1",
        f"STEP 3/3: RUN wget -q -P /models/1   {server}/resnet50-binary-0001.bin   {server}/resnet50-binary-0001.xml",
    ]
    assert told.notes[0].startswith("quay.io/microshift/busybox:1.37 is not in the store; a ModelCar does not need it")
    assert told.notes[1] == f"fetched {server}/resnet50-binary-0001.bin {digest_of(b'weights')}"
    assert [path.name for path in store.blobs.incoming.iterdir()] == []


def test_copy_add_label_and_chmod(store: ImageStore, place: Path, told: Told, server: str) -> None:
    fill(place, "data/1/model.onnx", "a.txt", "b.txt", "run.sh")
    text = f"""\
    # a comment
    FROM scratch AS car
    COPY --chown=1001:0 data/ /models/
    COPY *.txt /models/1/
    COPY ["run.sh", "/models/start"]
    ADD --checksum={digest_of(b"weights")} {server}/moved /models/1/weights.bin
    RUN ["mkdir", "-p", "/models/2", "/models/3"]
    RUN mkdir -m 700 /models/4; chmod 755 /models/start
    LABEL org.opencontainers.image.title="A bee" version=1
    """
    image = build_containerfile(store, text, place, options(), told)
    assert contents(store, image) == {
        "models/1/model.onnx", "models/1/a.txt", "models/1/b.txt", "models/start", "models/1/weights.bin",
    }  # fmt: skip
    tree = store.rootfs(image)
    assert (tree / "models/3").is_dir()
    assert os.access(tree / "models/start", os.X_OK)
    assert image.config.labels == {"org.opencontainers.image.title": "A bee", "version": "1"}


def test_a_base_from_the_store_is_kept_below(store: ImageStore, place: Path, told: Told) -> None:
    base = model_image(b"base").store_as(store, "localhost/base:1")
    fill(place, "model.onnx")
    image = build_containerfile(store, "FROM base:1\nCOPY model.onnx /models/2/", place, options(), told)
    assert contents(store, image) == {"models/1/model.bin", "models/2/model.onnx"}
    assert image.manifest.layers[0] == base.manifest.layers[0]
    assert (image.manifest.annotations or {})["org.opencontainers.image.base.name"] == "localhost/base:1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no instructions"),
        ("COPY a /a", "line 1: COPY comes before FROM"),
        ("FROM scratch\nFROM scratch", "line 2: a second FROM"),
        ("FROM scratch\nENV A=B", r"line 2: ENV is not understood; .*podman"),
        ("FROM scratch\n\n# x\nENTRYPOINT sh", "line 4: ENTRYPOINT is not understood"),
        ("FROM scratch\nRUN pip install x", "line 2: RUN: the command 'pip' is not run here"),
        ("FROM scratch\nRUN mkdir -p /a | cat", "the shell's '|' is not understood"),
        ("FROM scratch\nRUN mkdir -p $HOME", "the shell would expand '\\$HOME'"),
        ("FROM scratch\nRUN mkdir 'a", "check the quotes"),
        ("FROM scratch\nRUN --mount=type=cache mkdir a", "--mount=type=cache is not understood"),
        ("FROM scratch\nRUN chmod a+x /models", "write it as a number"),
        ("FROM scratch\nRUN chmod 755 /models", "chmod: /models is not there"),
        ("FROM scratch\nRUN mkdir /models/1", "write mkdir -p /models/1"),
        ("FROM scratch\nRUN mkdir --context=x /a", "mkdir: option --context not recognized"),
        ("FROM scratch\nRUN wget", "wget needs an address"),
        ("FROM scratch\nRUN wget -P /models http://example.com/a", "only https:// is safe"),
        ("FROM scratch\nRUN wget https://127.0.0.1:1/", "names no file"),
        ("FROM scratch\nRUN wget -P /m https://127.0.0.1:1/x", "cannot fetch https://127.0.0.1:1/x"),
        ("FROM scratch\nCOPY --from=build a /a", "--from is not understood"),
        ("FROM scratch\nCOPY a", "needs a source and a destination"),
        ("FROM scratch\nCOPY nothing /models/", "nothing matches 'nothing'"),
        ("FROM scratch\nCOPY *.nothing /models/", "nothing matches"),
        ("FROM scratch\nCOPY ../secret /models/", 'has ".." in it'),
        ("FROM scratch\nADD x.tar.gz /models/", "unpack it first and COPY"),
        ("FROM scratch\nADD --checksum=x https://a/b /models/", "--checksum takes sha256"),
        ("FROM scratch\nLABEL a=b c", "is no KEY=VALUE"),
        ("FROM scratch\nLABEL", "LABEL needs an argument"),
        ("FROM a b", "FROM takes one image"),
        ("FROM scratch\nRUN mkdir -p /models", "would hold no file"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(
    store: ImageStore, place: Path, told: Told, text: str, words: str
) -> None:
    with pytest.raises(BuildError, match=words):
        build_containerfile(store, text, place, options(), told)
    assert store.list() == []


def test_nothing_is_done_before_everything_is_understood(store: ImageStore, place: Path, told: Told) -> None:
    with pytest.raises(BuildError, match="line 3"):
        build_containerfile(store, "FROM scratch\nRUN wget https://127.0.0.1:1/x\nCMD x", place, options(), told)
    assert told.steps == []


def test_downloads_that_go_wrong(store: ImageStore, place: Path, told: Told, server: str) -> None:
    for line, words in (
        (f"RUN wget -P /models {server}/missing", "the server answers 404"),
        (f"RUN wget -P /models {server}/unsafe", "only https:// is safe"),
        (f"ADD --checksum=sha256:{'0' * 64} {server}/moved /models/x", "the file says sha256:000"),
    ):
        with pytest.raises(BuildError, match=words):
            build_containerfile(store, f"FROM scratch\n{line}", place, options(), told)
    assert list(store.blobs.incoming.iterdir()) == []


def test_lines_are_joined_as_podman_joins_them() -> None:
    (first, second) = parse("FROM scratch\nRUN mkdir -p \\\n# comment\n\n   /models/1 \\\n  /models/2\n")
    assert str(first) == "FROM scratch"
    assert str(second) == "RUN mkdir -p    /models/1   /models/2"
    assert second.line == 2
