// A playing video -> JPEG frames, each when the receiver has room for it.

const LONGEST_SIDE = 640;
const QUALITY = 0.85;
const CANVASES = 4;

/** Call `take` at each new frame of the video, until the returned function is called. */
export function eachFrame(video, take) {
  let running = true;
  const step = (now, about) => {
    if (!running) return;
    if (video.readyState >= 2 && !video.paused) take(performance.now(), about?.mediaTime ?? video.currentTime);
    next();
  };
  // Firefox before 132 has no callback for a video's frames.
  const next = () =>
    video.requestVideoFrameCallback ? video.requestVideoFrameCallback(step) : requestAnimationFrame(step);
  next();
  return () => { running = false; };
}

/** Return what copies a video's frame and encodes it. */
export function makeGrabber(video) {
  // Frames on the way, the one that is shown and the one that is taken: each its own canvas.
  const canvases = Array.from({ length: CANVASES }, () => new OffscreenCanvas(1, 1));
  let turn = 0;
  return () => {
    const factor = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
    const [width, height] = [video.videoWidth, video.videoHeight].map((side) => Math.max(1, Math.round(side * factor)));
    const canvas = canvases[turn = (turn + 1) % CANVASES];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    // Read back at once: the copy stays in the processor's memory.
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0, width, height);
    return { canvas, encoded: canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY }) };
  };
}
