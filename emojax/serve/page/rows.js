// Rows as they stand in a CSV file -> faces, and back into a file.

/** Return one cell as a CSV file has it. */
const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

export const csvLine = (cells) => `${cells.map(quoted).join(",")}\n`;

export const csvText = (columns, rows) => [columns, ...rows].map(csvLine).join("");

/** Return a function that reads rows of these columns. */
export function makeReader(columns, actionUnits, emotions) {
  const place = new Map(columns.map((name, index) => [name, index]));
  const number = (row, name) => Number(row[place.get(name)]);
  return (rows) =>
    rows
      .filter((row) => row[place.get("success")] === "1")
      .map((row) => ({
        id: number(row, "face_id"),
        box: ["x", "y", "w", "h"].map((side) => number(row, side)),
        emotion: row[place.get("emotion")] || null,
        uncertain: row[place.get("uncertain")] === "1",
        units: actionUnits.map((name) => ({
          name,
          value: number(row, `${name}_p`),
          present: row[place.get(`${name}_c`)] === "1",
        })),
        emotions: emotions.map((name) => ({ name, value: number(row, `emotion_${name}_p`) })),
      }));
}

/** Return rows of the API's JSON, each with its cells as text in the columns' order. */
export const cellsOf = (columns, rows) =>
  rows.map((row) => columns.map((name) => (row[name] === null ? "" : String(row[name]))));
