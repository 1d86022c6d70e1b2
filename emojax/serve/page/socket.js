// Frames to the server and rows back, with at most two frames on the way.

const IN_FLIGHT = 2;
const HEAD = 12;

/** Return a connection; `hear` has onModel, onResult, onError, onDropped and onClosed. */
export function openSocket(wanted, hear) {
  const url = new URL("stream", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const waiting = new Map();
  let opened = false;

  socket.addEventListener("open", () => {
    opened = true;
    socket.send(JSON.stringify(wanted));
  });
  socket.addEventListener("close", (event) => hear.onClosed(opened, event.code, event.reason));
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "model") { hear.onModel(message); return; }
    const sent = waiting.get(message.frame);
    waiting.delete(message.frame);
    if (message.type === "result") hear.onResult(message, sent);
    else if (message.type === "error") hear.onError(message);
    else if (message.type === "dropped") hear.onDropped(message);
  });

  return {
    /** Whether a frame may be sent: the server owes fewer than two answers. */
    free: () => socket.readyState === WebSocket.OPEN && waiting.size < IN_FLIGHT,
    /** Hold a place for a frame that is being encoded. */
    hold: (number, frame) => waiting.set(number, frame),
    /** Send a frame: its number, its time in seconds, its JPEG. */
    send(number, seconds, jpeg) {
      if (socket.readyState !== WebSocket.OPEN) return;
      const message = new Uint8Array(HEAD + jpeg.byteLength);
      const head = new DataView(message.buffer);
      head.setUint32(0, number, true);
      head.setFloat64(4, seconds, true);
      message.set(new Uint8Array(jpeg), HEAD);
      socket.send(message);
    },
    change: (settings) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(settings));
    },
    close: () => socket.close(),
  };
}
