"""A stand-in for the Hugging Face Hub on 127.0.0.1: as much of it as loading and pushing use.

Files are served with the headers that ``huggingface_hub`` asks for, repositories are made, and
commits taken with their large files sent apart (LFS). What a client may do hangs on its token.
"""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest
from huggingface_hub import file_download

TOKEN, READ_TOKEN = "hf_may_write", "hf_may_read"
LARGE = (".safetensors", ".bin", ".png")


@dataclass
class Repository:
    """A repository's commits, oldest first, each all of its files."""

    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])
    private: bool = False

    def commit(self, revision: str) -> int | None:
        """Place of the commit that a revision names."""
        if revision == "main":
            return len(self.commits) - 1
        ids = [commit_id(place) for place in range(len(self.commits))]
        return ids.index(revision) if revision in ids else None


def commit_id(place: int) -> str:
    return hashlib.sha1(f"commit {place}".encode()).hexdigest()


class HubStub(ThreadingHTTPServer):
    """The server.

    Attributes:
        repositories: by name.
        requests: method and path of everything that was asked for.
        messages: of the commits, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.large: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name: str, files: dict[str, bytes] | Path, *, private: bool = False) -> None:
        """Publish files, or those of a folder, as the next commit of a repository."""
        if isinstance(files, Path):
            folder = files
            files = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            }
        self.repositories.setdefault(name, Repository([], private)).commits.append(files)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that has gone


class _Handler(BaseHTTPRequestHandler):
    server: HubStub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        self.server.requests.append(f"{self.command} {unquote(urlsplit(self.path).path)}")

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_PUT(self) -> None:
        content = self._body()
        self.server.large[hashlib.sha256(content).hexdigest()] = content
        self._answer({})

    def do_POST(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self._body()
        if path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif self._token() not in (TOKEN, READ_TOKEN):
            self._refuse(401, "", "Invalid username or password.")
        elif self._token() == READ_TOKEN:
            self._refuse(403, "", "You don't have the rights to write here")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._large(json.loads(body))
        else:
            _, _, _, owner, name, action, _ = path.split("/", 6)
            repository = self.server.repositories.get(f"{owner}/{name}")
            if repository is None:
                self._refuse(404, "RepoNotFound", "Repository not found")
            elif action == "preupload":
                self._modes(json.loads(body))
            else:
                self._commit(f"{owner}/{name}", repository, body)

    # what is asked for ---------------------------------------------------------------------------

    def _get(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/api/whoami-v2":
            if self._token() not in (TOKEN, READ_TOKEN):
                return self._refuse(401, "", "Invalid username or password.")
            return self._answer({"name": "me", "type": "user"})
        parts = path.strip("/").split("/")
        described = parts[:2] == ["api", "models"]
        owner, name, *rest = parts[2:] if described else parts
        repository = self.server.repositories.get(f"{owner}/{name}")
        if repository is None or (repository.private and self._token() is None):
            return self._refuse(401, "RepoNotFound", "Repository not found")
        revision = rest[1] if len(rest) > 1 else "main"
        place = repository.commit(revision)
        if place is None:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if described:
            return self._answer({"id": f"{owner}/{name}", "sha": commit_id(place), "siblings": []})
        content = repository.commits[place].get("/".join(rest[2:]))
        if content is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", place)
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        return self._send(200, content, {**headers, "X-Repo-Commit": commit_id(place)})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        known = name in self.server.repositories
        if not name.startswith("me/"):
            return self._refuse(403, "", "You don't have the rights to create a model there")
        if not known:
            private = asked.get("visibility") == "private" or bool(asked.get("private"))  # older
            self.server.repositories[name] = Repository(private=private)
        return self._answer({"url": f"{self.server.url}/{name}"}, 409 if known else 200)

    def _modes(self, asked: dict[str, Any]) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for file in asked["files"]
        ]
        self._answer({"files": files})

    def _large(self, asked: dict[str, Any]) -> None:
        objects = [
            {**o, "actions": {"upload": {"href": f"{self.server.url}/lfs/{o['oid']}"}}}
            for o in asked["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repository: Repository, body: bytes) -> None:
        files = dict(repository.commits[-1])
        for line in body.splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "header":
                self.server.messages.append(value["summary"])
            elif said["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif said["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            else:
                raise AssertionError(said)
        repository.commits.append(files)
        made = commit_id(len(repository.commits) - 1)
        url = f"{self.server.url}/{name}/commit/{made}"
        self._answer({"success": True, "commitOid": made, "commitUrl": url})

    # how it is answered --------------------------------------------------------------------------

    def _token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str, place: int | None = None) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        if place is not None:
            headers["X-Repo-Commit"] = commit_id(place)
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_HUB_OFFLINE=1 does to a process that is started with it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    _forget_sessions()


def _forget_sessions() -> None:
    """Older versions ask whether they are offline when a session is made, and keep the session."""
    getattr(huggingface_hub.utils, "reset_sessions", lambda: None)()


@contextlib.contextmanager
def running_hub(
    monkeypatch: pytest.MonkeyPatch, cache: Path, *, token: str | None = TOKEN
) -> Iterator[HubStub]:
    """A stub that this process takes for the Hub, with a cache of its own.

    Its address is in the environment, too, for processes that are started.
    """
    constants = huggingface_hub.constants
    with HubStub() as hub:
        threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_CACHE": str(cache / "hub"),
            "HF_TOKEN_PATH": str(cache / "token"),
            "HF_HUB_DISABLE_XET": True,  # another protocol, of another server
        }.items():
            monkeypatch.setattr(constants, name, value)
        # older versions hold a copy of it there
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(cache))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        if token is not None:
            monkeypatch.setenv("HF_TOKEN", token)
        try:
            yield hub
        finally:
            hub.shutdown()
            _forget_sessions()
