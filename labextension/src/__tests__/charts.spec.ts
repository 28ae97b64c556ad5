/** Axes of the charts, and where the names of parallel coordinates stand. */
import { axisOf, compareTexts, valueAxis } from '../view/ranges';
import { fittingLabel, placedTitles } from '../view/Parallel';

test('an axis of one value has it in its middle, and one tick', () => {
  for (const value of [0.3, -5, 0, 1e9]) {
    const axis = valueAxis(value, value, 4);
    expect(axis.ticks).toHaveLength(1);
    expect(axis.ticks[0].value).toBe(value);
    expect((axis.domain[0] + axis.domain[1]) / 2).toBeCloseTo(value);
    expect(axis.domain[0]).toBeLessThan(value);
  }
  expect(valueAxis(0.3, 0.30000000000000004, 4).ticks.map(tick => tick.text)).toEqual(['0.3']);
});

test('ticks of a narrow range can be told apart', () => {
  const texts = valueAxis(0.999991, 0.999999, 3).ticks.map(tick => tick.text);
  expect(texts.length).toBeGreaterThan(1);
  expect(new Set(texts).size).toBe(texts.length);
  expect(valueAxis(0, 1, 2).ticks.map(tick => tick.text)).toEqual(['0', '0.5', '1']);
});

test('texts that hold numbers come in the order of the numbers', () => {
  expect(['32x16x8', '8', '16x8'].sort(compareTexts)).toEqual(['8', '16x8', '32x16x8']);
  expect(['0.1', '1e-3', '10', '9'].sort(compareTexts)).toEqual(['1e-3', '0.1', '9', '10']);
  expect(axisOf(['64', '128', '8'], String)).toEqual({ kind: 'names', names: ['8', '64', '128'] });
});

const NAMES = [
  'learning_rate',
  'n_estimators',
  'max_depth',
  'loss',
  'layers',
  'criterion',
  'subsample',
  'auc'
];

test.each([560, 320, 1200])('names above the axes do not touch at %p pixels', width => {
  const step = (width - 72) / (NAMES.length - 1);
  const spans = placedTitles(NAMES, step, width).map(({ text, x, y, anchor }) => {
    const size = text.length * 6.9;
    const begin = anchor === 'start' ? x : anchor === 'end' ? x - size : x - size / 2;
    return { y, begin, end: begin + size };
  });
  for (const [index, span] of spans.entries()) {
    expect(span.begin).toBeGreaterThanOrEqual(0);
    expect(span.end).toBeLessThanOrEqual(width);
    for (const other of spans.slice(index + 1))
      if (other.y === span.y) expect(other.begin).toBeGreaterThan(span.end);
  }
});

test('names that have room are whole and stand in one row', () => {
  const titles = placedTitles(['lr', 'width', 'auc'], 200, 472);
  expect(titles.map(title => title.text)).toEqual(['lr', 'width', 'auc']);
  expect(new Set(titles.map(title => title.y)).size).toBe(1);
});

test('a label has as many digits as there is room for, or ends in dots', () => {
  expect([fittingLabel(0.00236, 7), fittingLabel(0.236, 4), fittingLabel('friedman_mse', 6)]).toEqual([
    '0.00236',
    '0.24',
    'fried…'
  ]);
});
