// Results a second, and how long each took from camera to screen.

const KEPT = 150;
const WINDOW_MS = 2000;

export function makeMeter() {
  let times = [];
  let latencies = [];
  return {
    tick(now) {
      times.push(now);
      while (now - times[0] > WINDOW_MS) times.shift();
    },
    drawn(milliseconds) {
      latencies.push(milliseconds);
      if (latencies.length > KEPT) latencies.shift();
    },
    rate() {
      const passed = times.length > 1 ? times.at(-1) - times[0] : 0;
      return passed ? ((times.length - 1) * 1000) / passed : 0;
    },
    quantile(share) {
      const sorted = [...latencies].sort((a, b) => a - b);
      return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : 0;
    },
    clear() { times = []; latencies = []; },
  };
}
