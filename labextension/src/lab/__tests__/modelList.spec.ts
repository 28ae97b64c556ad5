/** @jest-environment ./lab/__tests__/environment.cjs */
import { RunsClient } from '../client';
import { metricsText, parseModels } from '../modelInfo';
import { ModelList } from '../modelList';
import { aModel, RunServer } from './runServer';

let server: RunServer;
let list: ModelList;

beforeEach(async () => {
  server = new RunServer();
  list = new ModelList(new RunsClient(await server.start()));
});

afterEach(async () => {
  list.dispose();
  await server.stop();
});

/** As the server writes a model. */
function asJson(changes: Record<string, unknown> = {}): unknown {
  return { ...aModel(), metrics: { accuracy: 0.95, loss: 'nan' }, ...changes };
}

test('the list holds the models of the folder', async () => {
  server.answer = () => ({ status: 200, body: { models: [asJson()] } });
  await list.refresh('my notebooks');
  expect(list.models).toEqual([aModel()]);
  expect(server.requests).toEqual(['GET /user/x/lagom/models?under=my%20notebooks']);
});

test('a request that fails is told, and the models stay', async () => {
  server.answer = () => ({ status: 200, body: { models: [asJson()] } });
  await list.refresh('');
  server.answer = () => ({ status: 503, body: { message: 'The server is busy.' } });
  await list.refresh('');
  expect(list.error?.message).toBe('The server is busy.');
  expect(list.models).toHaveLength(1);
});

test('a server without the extension has no models, which the list of runs tells', async () => {
  server.answer = () => ({ status: 404 });
  await list.refresh('');
  expect([list.error, list.models]).toEqual([null, []]);
});

test('many wishes at once are at most two requests, and the last folder counts', async () => {
  server.answer = (_method, url) => ({
    status: 200,
    body: { models: [asJson({ name: url.searchParams.get('under') })] }
  });
  await Promise.all([list.refresh('a'), list.refresh('b'), list.refresh('c')]);
  expect(server.requests).toHaveLength(2);
  expect(list.models.map(model => model.name)).toEqual(['c']);
});

test('an answer of another form is an error', () => {
  expect(() => parseModels({})).toThrow('no list of models');
  expect(() => parseModels({ models: [{ name: 'x' }] })).toThrow('no name or no version');
  expect(() => parseModels({ models: [asJson({ created_at: 'once' })] })).toThrow('no time of its export');
});

test('beyond three metrics there are dots', () => {
  const metrics = ['a', 'b', 'c', 'd'].map((name, index) => [name, index] as const);
  expect(metricsText(aModel({ metrics }))).toBe('a 0 · b 1.000 · c 2.000 · …');
  expect(metricsText(aModel({ metrics: [] }))).toBe('');
});
