"""What recording costs in the browser, and how soon a result is on the page.

    python -m bench.page --seconds 20

A real Chromium records its fake microphone (stereo, 44.1 kHz, 32-bit float) on the page of a
real micwire, once as it is and once with the analyzer `level`. Printed: the CPU of the page's
process, idle and recording, in percent of a core, with its share per process of the browser;
its memory; and the latency of results, from the moment when the block's last frame had been
captured up to the page's event. Needs Chromium and Playwright, as the tests do.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench.run import machine, quantile
from tests.browser.chrome import Chromium, fake_microphone
from tests.browser.harness import FAKE_MIC_RATE, Server, place_signal, write_wav

_MIB = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")
_WARM_UP_S = 3.0
_LISTEN = """() => {
  window.heard = [];
  let began = Infinity; // when frame 0 was captured, by the freshest news of all
  const element = document.querySelector("micwire-recorder");
  element.addEventListener("level", () => {
    const { capturedFrames, sampleRate } = element.status;
    began = Math.min(began, performance.now() - 1000 * capturedFrames / sampleRate);
  });
  element.addEventListener("result", ({ detail: { first_frame, frames } }) => {
    const end = (first_frame + frames) / element.status.sampleRate;
    window.heard.push([end, performance.now() - began - 1000 * end]);
  });
}"""


class _Processes:
    """The processes of a browser, by what they are for."""

    def __init__(self, browser: int) -> None:
        self._browser = browser

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds so far of each kind of process."""
        found: dict[str, float] = {}
        for process, kind in self._kinds():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            found[kind] = found.get(kind, 0.0) + (int(fields[11]) + int(fields[12])) / _TICKS
        return found

    def page_bytes(self) -> int:
        """Return the memory of the pages, resident and not shared."""
        found = 0
        for process, kind in self._kinds():
            if kind == "page":
                lines = Path(f"/proc/{process}/status").read_text().splitlines()
                [size] = [line for line in lines if line.startswith("RssAnon")]
                found += int(size.split()[1]) * 1024
        return found

    def _kinds(self) -> list[tuple[int, str]]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if os.getpgid(int(path.name)) == self._browser:
                    found.append((int(path.name), _kind((path / "cmdline").read_text())))
            except (OSError, ProcessLookupError):
                continue  # it has just ended
        return found


def _kind(command: str) -> str:
    if "--type=renderer" in command:
        return "page"
    if "audio.mojom" in command:
        return "audio"
    return "gpu" if "--type=gpu-process" in command else "browser"


def _cpu(processes: _Processes, page: Page, seconds: float) -> str:
    before, began = processes.cpu_s(), time.perf_counter()
    page.wait_for_timeout(seconds * 1000)
    after, elapsed = processes.cpu_s(), time.perf_counter() - began
    shares = {kind: (after[kind] - before.get(kind, 0.0)) / elapsed for kind in sorted(after)}
    return "  ".join(f"{kind} {share:6.1%}" for kind, share in shares.items())


def main() -> None:
    """Record, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    options = parser.parse_args()
    print(machine(Path(tempfile.gettempdir())))
    _record(options.seconds)
    heard = sorted(_record(options.seconds, "--analyzers", "level"))
    if not heard:
        raise SystemExit("no result came from the analyzer")
    median, tail = quantile(heard, 0.5), quantile(heard, 0.99)
    print(f"result      p50 {median:.0f} ms  p99 {tail:.0f} ms  of {len(heard)} results")


def _record(seconds: float, *arguments: str) -> list[float]:
    """Record for so long and print what it costs; return how late each result was, in ms."""
    print("micwire serve", *arguments)
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        folder = Path(directory)
        microphone = folder / "microphone.wav"
        length_s = int(seconds + 2 * _WARM_UP_S + 5)
        write_wav(microphone, place_signal(length_s * FAKE_MIC_RATE), FAKE_MIC_RATE)
        with (
            Server.micwire(folder / "recordings", *arguments) as server,
            Chromium(playwright, folder / "profile", *fake_microphone(microphone)) as browser,
        ):
            browser.context.grant_permissions(["microphone"], origin=server.address)
            page = browser.open(server.address)
            processes = _Processes(browser.pid)
            page.wait_for_timeout(_WARM_UP_S * 1000)
            print("idle       ", _cpu(processes, page, 5.0))
            page.evaluate(_LISTEN)
            page.get_by_test_id("channels").select_option("2")
            page.get_by_test_id("record").click()
            page.wait_for_timeout(_WARM_UP_S * 1000)
            first_bytes = processes.page_bytes()
            print("recording  ", _cpu(processes, page, seconds))
            grown = (processes.page_bytes() - first_bytes) / _MIB
            print(f"memory      {first_bytes / _MIB:.0f} MiB, grown by {grown:+.0f} MiB")
            heard = [delay for end, delay in page.evaluate("window.heard") if end > _WARM_UP_S]
            page.get_by_test_id("stop").click()
            page.wait_for_function(
                "() => document.querySelector('micwire-recorder').status.state === 'finished'"
            )
    return heard


if __name__ == "__main__":
    main()
