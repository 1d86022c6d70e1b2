// The last minute: what was seen when, and each frame as it was sent.

const SECONDS = 60;
// Frames are kept to look back at; without them the rows stay.
const MOST_BYTES = 96e6;

export function makeHistory() {
  let entries = [];
  let bytes = 0;
  return {
    add(entry) {
      entries.push(entry);
      bytes += entry.jpeg.size;
      const newest = entry.seconds;
      let gone = 0;
      while (entries[gone].seconds < newest - SECONDS) bytes -= entries[gone++].jpeg?.size ?? 0;
      if (gone) entries.splice(0, gone);
      for (let index = 0; bytes > MOST_BYTES && index < entries.length - 1; index++) {
        bytes -= entries[index].jpeg?.size ?? 0;
        entries[index].jpeg = null;
      }
    },
    clear() { entries = []; bytes = 0; },
    all: () => entries,
    seconds: SECONDS,
  };
}
