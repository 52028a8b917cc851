// What Chromium has in pages and TypeScript's own library does not know there:
// https://w3c.github.io/mediacapture-transform/

declare class MediaStreamTrackProcessor {
  constructor(init: { track: MediaStreamTrack; maxBufferSize?: number });
  readonly readable: ReadableStream<AudioData>;
}
