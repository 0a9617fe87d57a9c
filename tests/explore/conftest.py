"""The page in a real browser: two networks prepared once, and a browser that may fetch nothing."""

import contextlib
import functools
import http.server
import json
import os
import shutil
import sys
import threading
import types
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spanetv2.data.preprocessing import eval_transform
from spanetv2.errors import UserError
from spanetv2.explore.assemble import write_page
from spanetv2.explore.mask import crop_mask, draw_mask, filter_pixels
from spanetv2.explore.network import BrowserNetwork, prepare_network
from spanetv2.explore.runtime import VERSION, Runtime, find_runtime
from spanetv2.explore.shipped import choose_samples
from spanetv2.explore.subject import ExploreSubject, Sample
from spanetv2.models.weights.read import read_checkpoint
from spanetv2.tasks import find_task

REQUIRED = "SPANETV2_BROWSER_TESTS"
"""Set to 1 where a missing browser is a failure, as in continuous integration."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing(reason: str) -> Any:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason}, and {REQUIRED}=1 asks for it")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """ONNX Runtime as npm installed it: where .ci/run puts it, or where the command looks."""
    try:
        return find_runtime(Path(sys.prefix) / "npm")
    except UserError:
        pass
    try:
        return find_runtime()
    except UserError:
        return missing(f"no onnxruntime-web {VERSION}: npm install onnxruntime-web@{VERSION}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        missing("no Chromium: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # As root, which containers are, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Prepared(types.SimpleNamespace):
    """Two classifiers of different sizes and colours, ready for pages."""

    subjects: list[ExploreSubject]
    networks: list[BrowserNetwork]
    samples: list[Sample]

    def logits(self, number: int, sample: str, steps: str, model: Any = None) -> np.ndarray:
        """What PyTorch says of a sample seen through a mask that was drawn on the page."""
        subject = self.subjects[number]
        image = next(s.image for s in self.samples if s.name == sample)
        x_BCHW = eval_transform(subject.preprocessing)(image)[None]
        drawn = draw_mask(steps, self.subjects[-1].preprocessing.input_size[1:])
        mask = crop_mask(drawn, subject.preprocessing.input_size[1:])
        mean, std = (torch.tensor(getattr(subject.preprocessing, k)) for k in ("mean", "std"))
        fill = (torch.tensor(self.networks[number].about["fill"]) - mean) / std
        with torch.no_grad():
            return (model or subject.model)(filter_pixels(x_BCHW, mask, fill))[0].numpy()


@pytest.fixture(scope="session")
def prepared() -> Prepared:
    task = find_task("classification")
    ours = read_checkpoint("spanetv2_pico_pure.fashion_mnist")
    subjects = [
        task.explore_subject(ours, "pico", None, pretrained=False),
        task.explore_subject("test_convnext", "other", None, pretrained=False),
    ]
    samples = choose_samples(subjects[0].samples)
    networks = [prepare_network(subject, samples) for subject in subjects]
    return Prepared(subjects=subjects, networks=networks, samples=samples)


@pytest.fixture(scope="session")
def page_file(prepared: Prepared, runtime: Runtime, tmp_path_factory: Any) -> Path:
    """A page in one file that needs no network, with both classifiers."""
    out = tmp_path_factory.mktemp("page") / "lab.html"
    return write_page(prepared.networks, prepared.samples, out, embedded=runtime)


class Lab:
    """A page in the browser."""

    def __init__(self, tab: Any):
        self.tab = tab

    def set(self, **state: str) -> None:
        """Go to a state by the page's address, and wait for the answers."""
        text = urllib.parse.urlencode(state, safe=":;,")
        self.tab.evaluate("text => { location.hash = text; }", text)
        self.wait(mask=state.get("mask", ""), image=state["image"])

    def wait(self, **expected: str) -> None:
        """Until every network has answered for this part of the state."""
        self.tab.wait_for_function(
            """expected => [...document.querySelectorAll('.answer')].every(card => {
                const of = new URLSearchParams(card.dataset.of ?? '');
                return Object.entries(expected).every(([k, v]) => (of.get(k) ?? '') === v);
            })""",
            arg=expected,
        )

    def logits(self, number: int = 0) -> np.ndarray:
        return np.array(json.loads(self.tab.get_attribute(f"#answer-{number}", "data-logits")))

    @property
    def state(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.tab.evaluate("location.hash.slice(1)")))

    def point(self, p: int, q: int) -> tuple[float, float]:
        """Where a wave is on the screen."""
        self.tab.locator("#spectrum").scroll_into_view_if_needed()
        box = self.tab.locator("#spectrum").bounding_box()
        height, width = map(int, self.tab.get_attribute("#spectrum", "data-size").split("x"))
        cell = min(box["width"] - 54, box["height"] - 74) / max(height, width)
        return (
            box["x"] + 46 + (q + width // 2 + 0.5) * cell,
            box["y"] + 34 + (p + height // 2 + 0.5) * cell,
        )


@contextlib.contextmanager
def tabs(browser: Any) -> Iterator[Callable[..., Lab]]:
    """Tabs of their own; whatever goes wrong unseen in one is an error."""
    contexts, faults = [], []

    def open_(address: str, *, offline: bool = True, script: str = "", ready: bool = True) -> Lab:
        context = browser.new_context(viewport={"width": 1400, "height": 1000}, offline=offline)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(120_000)  # a busy machine
        tab.on("pageerror", lambda error: faults.append(str(error)))
        if script:
            tab.add_init_script(script)
        tab.goto(address)
        if ready:
            tab.wait_for_function(
                "[...document.querySelectorAll('.answer')].every(card => card.dataset.logits)"
            )
        return Lab(tab)

    yield open_
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Lab]]:
    with tabs(browser) as open_:
        yield open_


@pytest.fixture(scope="session")
def lab(browser: Any, page_file: Path) -> Iterator[Lab]:
    """The page, opened once from a disk with the network switched off; tests set its state."""
    with tabs(browser) as open_:
        yield open_(page_file.as_uri())


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve a folder on this machine, for any page."""
    servers = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Access-Control-Allow-Origin", "*")
            super().end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    def start(folder: Path) -> str:
        handler = functools.partial(Handler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
