"""What a person records with the page at / is the microphone, frame by frame."""

from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.harness import FAKE_MIC_RATE, Server
from tests.browser.recorder_page import (
    RecorderPage,
    assert_honest,
    assert_whole,
    expect_nothing_kept,
)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("encoding", ["pcm_f32le", "pcm_s24le", "pcm_s16le"])
def test_every_frame_is_in_the_wav(
    encoding: str, channels: int, open_page: OpenPage, server: Server, tmp_path: Path
) -> None:
    page = RecorderPage(open_page("about:blank")).open(server.address)
    page.begin(encoding, channels)
    page.talk(1.5)
    captured = page.status["capturedFrames"]
    receipt = page.stop()
    whole = assert_whole(server, receipt, tmp_path)
    assert captured <= receipt["frames"] < captured + 2 * FAKE_MIC_RATE
    assert whole.first < FAKE_MIC_RATE / 10
    assert server.recording(receipt["recording"])["format"] == {
        "encoding": encoding,
        "sample_rate": FAKE_MIC_RATE,
        "channels": channels,
    }
    expect_nothing_kept(page)
    assert_honest(page.shown)
