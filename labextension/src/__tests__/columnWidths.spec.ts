/** Where the trial table is cut by its edge. */
import { endingAtTheEdge } from '../view/columnWidths';

const WIDTHS = [60, 90, 70, 72, 70, 60, 75, 50, 60, 60];

function ends(widths: readonly number[]): number[] {
  return widths.map((_, at) => widths.slice(0, at + 1).reduce((sum, one) => sum + one, 0));
}

test.each([657, 566, 486, 300])('a column ends where a table of %p pixels does', room => {
  const widths = endingAtTheEdge(WIDTHS, room);
  expect(ends(widths).some(end => Math.abs(end - room) < 0.01)).toBe(true);
  expect(widths.every((width, at) => width >= WIDTHS[at])).toBe(true);
});

test('columns that all have room, or of which only the first have, are as wide as they need', () => {
  expect(endingAtTheEdge(WIDTHS, 667)).toEqual(WIDTHS);
  expect(endingAtTheEdge(WIDTHS, 240)).toEqual(WIDTHS);
});

test('the columns that stay while the others scroll become no wider', () => {
  expect(endingAtTheEdge(WIDTHS, 566).slice(0, 3)).toEqual(WIDTHS.slice(0, 3));
});
