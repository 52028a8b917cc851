// A program that uses the package from npm, as its author would write it.

import { Recorder } from "micwire/recorder";
import type { Receipt, Status } from "micwire/types";

export async function record(seconds: number): Promise<Receipt> {
  const recorder = new Recorder({ server: "https://mic.example/", ticket: async () => "once" });
  recorder.addEventListener("state", () => {
    const status: Status = recorder.status;
    console.log(status.state, status.durableFrames / status.sampleRate);
  });
  recorder.addEventListener("level", ({ detail }) => console.log(Math.max(...detail.peak)));
  recorder.addEventListener("gap", ({ detail }) => console.log(detail.recording, detail.first_frame));
  // @ts-expect-error A level has no such field.
  recorder.addEventListener("level", ({ detail }) => detail.loudness);
  await recorder.start({ channels: 2, encoding: "pcm_s24le", title: "Interview" });
  recorder.mark("question 1");
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const receipt = await recorder.stop();
  if (receipt.matches !== true) throw new Error(`${receipt.url} is not what was recorded`);
  return receipt;
}

// @ts-expect-error An encoding that there is not.
void new Recorder({}).start({ encoding: "mp3" });
// @ts-expect-error A receipt has no such field.
void new Recorder({}).stop().then((receipt) => receipt.bytes);
