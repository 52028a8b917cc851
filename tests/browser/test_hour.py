"""An hour of recording, as fast as it goes: the page's memory stays as it is.

The sound is made in the page and goes the way of a microphone's: a stream of AudioData to the
worker, its journal, the socket, the server. It is made no faster than the server takes it, as
a microphone's is: what is on its way is a matter of the connection, not of the length.
"""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Playwright

from tests.browser.chrome import Chromium
from tests.browser.harness import Server

HOUR_S = 3_600
STEPS = 6
MIB = 1 << 20

FEED = """async ([seconds, steps]) => {
  const rate = 48_000, frames = 24_000, all = seconds * rate / frames, most = 60 * rate / frames;
  const handed = []; // a stream hands copies to the worker: the page's own are to be closed
  let made = 0;
  const plane = new Float32Array(frames);
  const track = new ReadableStream({
    async pull(controller) {
      while (handed.length > 8) handed.shift().close();
      if (made === all) return controller.close();
      while (made - window.fed.durable / frames > most) {
        await new Promise((done) => setTimeout(done, 5));
      }
      for (let n = 0; n < frames; n++) plane[n] = ((made * frames + n) % 65_536 - 32_768) / 32_768;
      const data = new AudioData({
        format: "f32-planar", sampleRate: rate, numberOfFrames: frames, numberOfChannels: 1,
        timestamp: made++ * frames * 1e6 / rate, data: plane,
      });
      handed.push(data);
      controller.enqueue(data);
    },
  }, { highWaterMark: 0 });
  const worker = new Worker("/recorder/worker.js", { type: "module" });
  let id = 0;
  const asked = new Map();
  const ask = (name, order, transfer = []) => {
    worker.postMessage({ do: name, id: ++id, order }, transfer);
    return new Promise((resolve) => asked.set(id, resolve));
  };
  window.fed = { made: () => made / all, captured: 0, durable: 0, finished: null };
  worker.onmessage = ({ data }) => {
    if (data.re) asked.get(data.re)(data);
    if (data.say === "ticket") worker.postMessage({ do: "ticket", id: data.id, ticket: null });
    if (data.say === "progress" && data.parts.length > 0) {
      window.fed.captured = data.parts[0].capturedFrames;
      window.fed.durable = data.parts[0].durableFrames;
    }
    if (data.say === "finished") window.fed.finished = data.receipt;
  };
  await ask("open", { server: location.href });
  const take = crypto.randomUUID();
  const facts = { take, encoding: "pcm_s16le", title: "An hour", metadata: null, analyzers: [] };
  const source = { track, device: {}, settings: {}, channels: 1, hasCounts: false };
  window.fed.begun = ask("begin", { facts, source }, [track]);
}"""


def renderer_bytes(browser: int) -> int:
    """Return the memory of all pages and workers of a browser, resident and not shared."""
    parents, kinds = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            kinds[int(path.name)] = "--type=renderer" in (path / "cmdline").read_text()
        except OSError:
            continue  # it has just ended

    def descends(process: int) -> bool:
        while process in parents and process != browser:
            process = parents[process]
        return process == browser

    found = 0
    for process, is_renderer in kinds.items():
        if is_renderer and descends(process):
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            [size] = [line for line in lines if line.startswith("RssAnon")]
            found += int(size.split()[1]) * 1024
    return found


@pytest.mark.timeout(300)
def test_an_hour_of_recording_leaves_the_memory_of_the_page_as_it_was(
    playwright: Playwright, tmp_path: Path
) -> None:
    with (
        Server.micwire(tmp_path / "recordings") as server,
        Chromium(playwright, tmp_path / "profile") as browser,
    ):
        page = browser.open(server.address)
        page.evaluate(FEED, [HOUR_S, STEPS])
        session = page.context.new_cdp_session(page)
        sizes = []
        for step in range(1, STEPS + 1):
            page.wait_for_function(f"() => window.fed.made() >= {step / STEPS}", timeout=100_000)
            # What is garbage says nothing: the browser collects it when it is told to be short.
            session.send("Memory.simulatePressureNotification", {"level": "critical"})
            page.wait_for_timeout(500)
            sizes.append(renderer_bytes(browser.pid))
        page.wait_for_function("() => window.fed.finished !== null", timeout=60_000)
        receipt = page.evaluate("window.fed.finished")
        print("MiB of the page's processes:", [size // MIB for size in sizes])
        assert receipt["frames"] == HOUR_S * 48_000
        assert receipt["matches"] is True
        [wav] = server.wavs()
        assert json.loads(wav.with_suffix(".json").read_text())["gaps"] == []
        # A page that kept its sound would hold 165 MiB more in the second half of the hour.
        assert min(sizes[STEPS // 2 :]) - min(sizes[: STEPS // 2]) < 80 * MIB
