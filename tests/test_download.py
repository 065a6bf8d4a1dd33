"""download: a data set gets here whole or not at all, whatever the server does. The server is on this machine."""

import hashlib
import io
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from uniecg_lite import download
from uniecg_lite.cli import app
from uniecg_lite.errors import BadArtifact, BadRequest, UniECGError

FILE = download.DATASETS["ptbxl"]["file"]
RECORDS = {f"records100/00000/0000{i}_lr.{end}": bytes([i]) * 5000 * i for i in range(1, 5) for end in ("hea", "dat")}
TABLES = {"ptbxl_database.csv": b"ecg_id\n1\n", "scp_statements.csv": b",description\n", "LICENSE.txt": b"CC BY 4.0"}
LEFT = {"records500/00000/00001_hr.dat": b"large", "RECORDS": b"records100/00000/00001_lr"}


def archive(wrong: str = "", **extra: bytes) -> bytes:
    """A small PTB-XL as PhysioNet packs it; the sum of the file `wrong` is another's."""
    files = RECORDS | TABLES | LEFT | extra
    sums = {name: hashlib.sha256(text + b"x" * (name == wrong)).hexdigest() for name, text in files.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, text in files.items():
            packed.writestr(f"ptb-xl-1.0.3/{name}", text)
        packed.writestr("ptb-xl-1.0.3/SHA256SUMS.txt", "".join(f"{value} {name}\n" for name, value in sums.items()))
    return out.getvalue()


class Server(ThreadingHTTPServer):
    """Serves one archive; `cut` bytes at most at a time, `claim` more than there are, `ranges` ignored or not."""

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.claim, self.ranges, self.fail, self.asked = content, None, 0, True, [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        s = self.server
        s.asked.append((self.path, self.headers.get("Range")))
        if s.fail:
            return self.send_error(s.fail.pop())
        start = int(re.findall(r"\d+", self.headers.get("Range") or "0")[0]) if s.ranges else 0
        if start >= len(s.content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        rest = s.content[start:]
        self.send_header("Content-Length", str(len(rest) + s.claim))
        self.end_headers()
        self.wfile.write(rest[: s.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    one = Server(archive())
    yield one
    one.shutdown()
    one.server_close()


def whole(folder) -> bool:
    there = {str(p.relative_to(folder).as_posix()): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    sums = there.pop("SHA256SUMS.txt")
    return bool(sums) and there == {name: text for name, text in (RECORDS | TABLES).items() if name != "LICENSE.txt"}


def get(server, folder):
    return download.get("ptbxl", folder, server.url, patience_s=0.3)


def test_it_comes_whole_and_once(server, tmp_path):
    assert whole(get(server, tmp_path / "a" / "ptbxl")) and server.asked == [(f"/{FILE}", None)]
    assert not list(tmp_path.rglob("*.part"))
    get(server, tmp_path / "a" / "ptbxl")
    assert len(server.asked) == 1, "what is there is not fetched again"


def test_a_connection_that_is_cut_goes_on_where_it_was(server, tmp_path):
    server.cut = len(server.content) // 5
    assert whole(get(server, tmp_path / "ptbxl"))
    starts = [int(re.findall(r"\d+", one)[0]) for _, one in server.asked[1:]]
    assert len(starts) >= 5 and starts == sorted(set(starts)) and starts[0] == server.cut


def test_a_later_call_goes_on(server, tmp_path):
    server.cut, server.ranges = 1000, False
    with pytest.raises(UniECGError, match="what is here is kept"):
        get(server, tmp_path / "ptbxl")
    assert len(server.asked) == download.TRIES + 1 and not (tmp_path / "ptbxl").exists()
    assert (tmp_path / "ptbxl.zip.part").stat().st_size == 1000
    server.cut, server.ranges, server.asked = None, True, []
    assert whole(get(server, tmp_path / "ptbxl")) and server.asked[0][1] == "bytes=1000-"


def test_a_server_without_ranges_starts_over(server, tmp_path):
    (tmp_path / "ptbxl.zip.part").write_bytes(b"something of another archive")
    server.ranges = False
    assert whole(get(server, tmp_path / "ptbxl"))


def test_a_server_that_promises_too_much(server, tmp_path):
    server.claim = 500
    assert whole(get(server, tmp_path / "ptbxl")) and len(server.asked) == 2, "nothing lies beyond the end"


def test_a_server_that_promises_too_little(server, tmp_path):
    server.claim = -500
    with pytest.raises(BadArtifact, match="archive is damaged"):
        get(server, tmp_path / "ptbxl")
    assert not list(tmp_path.iterdir()), "so that the next call starts afresh"


@pytest.mark.parametrize("wrong", ["ptbxl_database.csv", "records100/00000/00003_lr.dat"])
def test_a_wrong_sum(server, tmp_path, wrong):
    server.content = archive(wrong)
    with pytest.raises(BadArtifact, match=f"{wrong} is not what its SHA256 sum says"):
        get(server, tmp_path / "ptbxl")
    assert not list(tmp_path.iterdir())


def test_what_is_not_kept_need_not_fit(server, tmp_path):
    server.content = archive("records500/00000/00001_hr.dat")
    assert whole(get(server, tmp_path / "ptbxl"))


def test_a_name_that_leads_out(server, tmp_path):
    server.content = archive(**{"records100/../../evil.dat": b"x"})
    with pytest.raises(BadArtifact, match="leads out of the folder"):
        get(server, tmp_path / "ptbxl")
    assert not list(tmp_path.iterdir())


def test_an_archive_that_is_none(server, tmp_path):
    for content in (b"<html>please log in</html>", io.BytesIO().getvalue() or b"PK"):
        server.content = content
        with pytest.raises(BadArtifact, match="damaged"):
            get(server, tmp_path / "ptbxl")


def test_errors_that_pass_and_errors_that_stay(server, tmp_path):
    server.fail = [503, 500]
    assert whole(get(server, tmp_path / "ptbxl"))
    server.fail = [404] * 3
    with pytest.raises(UniECGError, match="404.*try a mirror"):
        get(server, tmp_path / "other")
    with pytest.raises(UniECGError, match="cannot be fetched"):
        download.get("ptbxl", tmp_path / "third", "http://127.0.0.1:9", patience_s=0.01)


def test_other_names_and_folders(server, tmp_path):
    with pytest.raises(BadRequest, match="choose one of ptbxl"):
        download.get("mitdb", tmp_path / "x")
    (tmp_path / "mine").mkdir()
    with pytest.raises(BadRequest, match="something else"):
        get(server, tmp_path / "mine")


def test_the_command_says_size_and_licence(server, tmp_path):
    result = CliRunner().invoke(app, ["data", "get", "ptbxl", "--to", str(tmp_path / "p"), "--mirror", server.url])
    assert result.exit_code == 0 and whole(tmp_path / "p")
    assert "1.7 GB" in result.output and "CC BY 4.0" in result.output
    assert f"UNIECG_COHORT=ptbxl={tmp_path / 'p'}" in result.output
