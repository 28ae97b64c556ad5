import { TestTransport, linesJson, trialJson, updateJson } from './pages';
import { Client, RequestError } from '../model/client';
import { RunModel } from '../model/runModel';
import { RunSession } from '../model/session';

beforeEach(() => jest.useFakeTimers({ doNotFake: ['queueMicrotask'] }));
afterEach(() => jest.useRealTimers());

function session(transport: TestTransport): RunSession {
  return new RunSession(transport, new RunModel(callback => callback()));
}

test('a page begins by asking for everything', () => {
  const transport = new TestTransport();
  session(transport);
  expect(transport.sent).toMatchObject([{ type: 'sync', since: 0, lines: -1 }]);
});

test('after a gap it asks once for what it does not hold', async () => {
  const transport = new TestTransport();
  transport.answer = request => (request.type === 'sync' ? true : undefined);
  session(transport);
  await jest.advanceTimersByTimeAsync(0);
  transport.receive(updateJson(1, 0, 5, { lines: linesJson(0, ['a', 'b']) }));
  transport.answer = () => undefined;
  transport.receive(updateJson(3, 8, 9));
  transport.receive(updateJson(4, 9, 10));
  expect(transport.requests('sync').slice(1)).toMatchObject([{ since: 5, lines: 2 }]);
});

test('a new connection is asked for what came meanwhile', async () => {
  const transport = new TestTransport('open', true);
  transport.answer = () => true;
  const { model } = session(transport);
  await jest.advanceTimersByTimeAsync(0);
  transport.receive(updateJson(1, 0, 5, { trials: [trialJson(0)] }));
  transport.receive(updateJson(2, 5, 6));
  transport.change('connecting');
  transport.change('open');
  expect(transport.requests('sync').pop()).toMatchObject({ since: 6 });
  await jest.advanceTimersByTimeAsync(0);
  transport.receive(updateJson(1, 6, 9));
  expect(model.seq).toBe(9);
  expect(transport.requests('sync')).toHaveLength(2);
});

test('a control request without an answer fails after two seconds', async () => {
  const transport = new TestTransport();
  const outcome = session(transport)
    .control('stop', null)
    .catch((error: unknown) => error);
  await jest.advanceTimersByTimeAsync(1_999);
  expect(transport.requests('control')).toMatchObject([{ action: 'stop', trial_id: null }]);
  await jest.advanceTimersByTimeAsync(1);
  expect(await outcome).toMatchObject({ name: 'RequestError', reason: 'timeout' });
});

test('an error reply is a refusal with its sentence', async () => {
  const transport = new TestTransport();
  const client = new Client(transport, () => undefined);
  const outcome = client.request({ type: 'importance' }).catch((error: unknown) => error);
  transport.receive({ type: 'reply', id: transport.sent[0].id, ok: false, error: 'too few trials' });
  expect(await outcome).toEqual(new RequestError('refused', 'too few trials'));
});

test('a long reply is put together from parts in any order, each of which extends the time', async () => {
  const transport = new TestTransport();
  const client = new Client(transport, () => undefined);
  const outcome = client.request({ type: 'importance' }, 1_000);
  const text = JSON.stringify({ lr: 0.75, text: 'ä "quoted" \n' });
  const { id } = transport.sent[0];
  const part = (index: number) => ({
    type: 'part',
    id,
    index,
    n_parts: 3,
    data: text.slice(index * 12, index === 2 ? undefined : (index + 1) * 12)
  });
  transport.receive(part(2));
  await jest.advanceTimersByTimeAsync(900);
  transport.receive(part(0));
  await jest.advanceTimersByTimeAsync(900);
  transport.receive(part(1));
  expect(await outcome).toEqual(JSON.parse(text));
});

test('replies to nobody, to somebody else and after the time do no harm', async () => {
  const transport = new TestTransport();
  const client = new Client(transport, () => undefined);
  const outcome = client.request({ type: 'board' }, 100).catch((error: unknown) => error);
  transport.receive({ type: 'reply', id: 'other', ok: true, value: 1 });
  transport.receive({ type: 'part', id: 'other', index: 0, n_parts: 1, data: '1' });
  await jest.advanceTimersByTimeAsync(100);
  transport.receive({ type: 'reply', id: transport.sent[0].id, ok: true, value: 1 });
  expect(await outcome).toMatchObject({ reason: 'timeout' });
});

test('a broken connection ends what was asked over it', async () => {
  const transport = new TestTransport();
  const client = new Client(transport, () => undefined);
  const outcome = client.request({ type: 'board' }).catch((error: unknown) => error);
  transport.change('closed');
  expect(await outcome).toMatchObject({ reason: 'closed' });
  await expect(client.request({ type: 'board' })).rejects.toMatchObject({ reason: 'closed' });
});

test('only pictures become blobs', async () => {
  const transport = new TestTransport();
  const view = session(transport);
  transport.answer = () => ({ media_type: 'image/svg+xml', base64: btoa('<svg onload="alert(1)">') });
  expect(await view.picture(1, 1, 'a.svg')).toBeNull();
  transport.answer = () => ({ media_type: 'image/png', base64: btoa('png') });
  expect(await view.picture(1, 1, 'a.png')).toMatchObject({ type: 'image/png', size: 3 });
});

test('a board without a port is none', async () => {
  const transport = new TestTransport();
  const view = session(transport);
  transport.answer = () => ({ port: 'javascript:alert(1)', path: '/' });
  expect(await view.board()).toBeNull();
});
