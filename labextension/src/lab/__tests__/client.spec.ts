/** @jest-environment ./lab/__tests__/environment.cjs */
import { ExtensionMissingError, HttpError, RunsClient } from '../client';
import { RunServer } from './runServer';

let server: RunServer;
let client: RunsClient;

beforeEach(async () => {
  server = new RunServer();
  client = new RunsClient(await server.start());
});

afterEach(() => server.stop());

test('a run is deleted by its folder', async () => {
  server.answer = () => ({ status: 204 });
  await client.remove('lagom_runs/a b/x');
  expect(server.requests).toEqual(['DELETE /user/x/lagom/runs?dir=lagom_runs%2Fa%20b%2Fx']);
});

test("a run's TensorBoard is ended by the run's folder", async () => {
  server.answer = () => ({ status: 204 });
  await client.stopBoard('lagom_runs/a b/x');
  expect(server.requests).toEqual(['DELETE /user/x/lagom/board?dir=lagom_runs%2Fa%20b%2Fx']);
});

test("a refusal has the server's sentence and its status", async () => {
  server.answer = () => ({ status: 409, body: { message: 'The run is live: stop it first.' } });
  const refusal = client.remove('x');
  await expect(refusal).rejects.toEqual(new HttpError('The run is live: stop it first.', 409));
  await expect(refusal).rejects.toMatchObject({ status: 409 });
});

test('a server without our extension is told from one that refuses', async () => {
  server.answer = () => ({ status: 404 });
  await expect(client.list('')).rejects.toBeInstanceOf(ExtensionMissingError);
  server.answer = () => ({ status: 404, body: { message: 'There is no such folder.' } });
  await expect(client.list('')).rejects.toEqual(new HttpError('There is no such folder.', 404));
});

test('control tells what will happen', async () => {
  server.answer = method =>
    method === 'POST' ? { status: 200, body: { text: 'The run stops.' } } : { status: 405 };
  await expect(client.control('x', 'stop')).resolves.toBe('The run stops.');
});

test('a control request without an answer ends after two seconds', async () => {
  server.answer = () => new Promise(() => undefined);
  await expect(client.control('x', 'stop')).rejects.toBeInstanceOf(HttpError);
});

test('a server that is gone is an error with no status', async () => {
  await server.stop();
  await expect(client.list('')).rejects.toMatchObject({ name: 'HttpError', status: null });
});

test('the address of a proxied port ends in a slash', () => {
  expect(client.proxyUrl(6006)).toMatch(/\/user\/x\/proxy\/6006\/$/);
});
