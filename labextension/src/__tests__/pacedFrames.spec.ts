import { pacedFrames } from '../model/runModel';

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

/** When, in milliseconds, a picture is drawn that is asked for right after the one before, and takes `costMs` itself. */
function drawnAt(costMs: number, nPictures: number): number[] {
  const schedule = pacedFrames();
  const times: number[] = [];
  const draw = () => {
    times.push(performance.now());
    const endsAt = performance.now() + costMs;
    jest.setSystemTime(endsAt);
    jest.advanceTimersByTime(costMs);
  };
  for (let index = 0; index < nPictures; index += 1) {
    schedule(draw);
    jest.runOnlyPendingTimers();
    jest.runOnlyPendingTimers();
  }
  return times;
}

function pauses(times: number[]): number[] {
  return times.slice(1).map((time, index) => time - (times[index] ?? 0));
}

test('quick pictures follow each other as the browser draws', () => {
  expect(Math.max(...pauses(drawnAt(0, 5)))).toBeLessThan(40);
});

test('slow pictures take a fifth of the time', () => {
  const [pause = 0] = pauses(drawnAt(100, 2));
  expect(pause).toBeGreaterThanOrEqual(400);
  expect(pause).toBeLessThan(700);
});

test('no pause is longer than about a second', () => {
  expect(Math.max(...pauses(drawnAt(2_000, 3)))).toBeLessThan(2_000 + 1_100);
});
