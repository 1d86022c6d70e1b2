// Boxes with their numbers on a canvas.

/** Draw a box around each face, its id on the upper edge. */
export function drawBoxes(canvas, faces, factor = 1) {
  const pen = canvas.getContext("2d");
  const thick = Math.max(2, canvas.width / 320);
  const size = Math.max(13, canvas.width / 40);
  pen.lineWidth = thick;
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  for (const { id, box } of faces) {
    const [x, y, w, h] = box.map((side) => side * factor);
    pen.strokeStyle = "#3ecf3e";
    pen.strokeRect(x, y, w, h);
    const words = String(id);
    const width = pen.measureText(words).width + size * 0.6;
    // Outside of the face where there is room.
    const top = Math.max(0, y - size * 1.3);
    pen.fillStyle = "#3ecf3e";
    pen.fillRect(x - thick / 2, top, width, size * 1.3);
    pen.fillStyle = "#08210a";
    pen.fillText(words, x + size * 0.3, top + size * 0.68);
  }
}
