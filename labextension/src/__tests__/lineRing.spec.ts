import { linesJson } from './pages';
import { LINE_CHARACTERS, LineRing } from '../model/lineRing';
import type { ILines } from '../model/messages';

const lines = (...values: Parameters<typeof linesJson>) => linesJson(...values) as unknown as ILines;

test('only the last lines are kept, and the count goes on', () => {
  const ring = new LineRing(100);
  for (let number = 0; number < 1000; number += 10) {
    ring.add(
      lines(
        number,
        Array.from({ length: 10 }, (_, index) => `line ${number + index}`)
      )
    );
  }
  expect(ring.lines).toHaveLength(100);
  expect(ring.lines[0]).toMatchObject({ number: 900, text: 'line 900' });
  expect(ring.end).toBe(1000);
  expect(ring.nSkipped).toBe(0);
});

test('lines that the sender left out are counted', () => {
  const ring = new LineRing();
  ring.add(lines(0, ['a']));
  ring.add(lines(1, ['z'], 40));
  expect(ring.lines.map(line => line.number)).toEqual([0, 41]);
  expect(ring.nSkipped).toBe(40);
});

test('lines that are there already are not doubled', () => {
  const ring = new LineRing();
  ring.add(lines(0, ['a', 'b', 'c']));
  ring.add(lines(1, ['b', 'c', 'd']));
  ring.add(lines(0, ['a']));
  expect(ring.lines.map(line => line.text)).toEqual(['a', 'b', 'c', 'd']);
});

test('the lines of a rank are those of the worker that holds it', () => {
  const ring = new LineRing();
  ring.add(lines(0, ['[r0] a', '[r12] b', '[r x] c']));
  expect(ring.lines.map(line => [line.worker_id, line.trial_id])).toEqual([
    [1, 0],
    [13, 0],
    [null, null]
  ]);
});

test('worker and trial are read from the beginning of a line', () => {
  const ring = new LineRing();
  ring.add(lines(0, ['[w3 t12] a', '[w3] b', '[w1 t7.2] c', 'no [w1 t1]', '[w1 tx] d']));
  expect(ring.lines.map(line => [line.worker_id, line.trial_id])).toEqual([
    [3, 12],
    [3, null],
    [1, 7],
    [null, null],
    [null, null]
  ]);
});

test('a very long line is cut', () => {
  const ring = new LineRing();
  ring.add(lines(0, ['x'.repeat(1 << 20)]));
  expect(ring.lines[0].text).toHaveLength(LINE_CHARACTERS + 1);
});
