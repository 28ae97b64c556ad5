/** The anywidget entry, with a widget model whose kernel is the test. */
import { act } from '@testing-library/preact';

import { runJson, trialJson, updateJson } from './pages';
import type { Request } from '../model/messages';
import type { IWidgetModel } from '../transport/comm';
import defineWidget from '../widget';

class TestModel {
  constructor(private readonly _traits: Record<string, unknown>) {}

  readonly sent: Request[] = [];

  get(name: string): unknown {
    return this._traits[name];
  }

  send(content: unknown): void {
    this.sent.push(content as Request);
  }

  on(name: string, callback: (...values: unknown[]) => void): void {
    this._callbacks.push({ name, callback });
  }

  off(name?: string | null, callback?: ((...values: unknown[]) => void) | null): void {
    this._callbacks = this._callbacks.filter(item => item.name !== name || item.callback !== callback);
  }

  trigger(name: string, value?: unknown): void {
    for (const item of this._callbacks.filter(each => each.name === name)) item.callback(value, []);
  }

  get nCallbacks(): number {
    return this._callbacks.length;
  }

  private _callbacks: { name: string; callback: (...values: unknown[]) => void }[] = [];
}

/** anywidget wraps the model anew for each call. */
function wrapped(model: TestModel): IWidgetModel {
  return {
    get: name => model.get(name),
    send: content => model.send(content),
    on: (name, callback) => model.on(name, callback),
    off: (name, callback) => model.off(name, callback)
  };
}

function place(): HTMLElement {
  return document.body.appendChild(document.createElement('div'));
}

const nextPicture = () => act(() => new Promise<void>(resolve => requestAnimationFrame(() => resolve())));

test('several views of a widget share one session and one question', async () => {
  const model = new TestModel({ run: {}, dir: 'lagom_runs/digits/x' });
  const widget = defineWidget();
  const end = widget.initialize({ model: wrapped(model) });
  const [left, right] = [place(), place()];
  const ends = [
    widget.render({ model: wrapped(model), el: left }),
    widget.render({ model: wrapped(model), el: right })
  ];
  expect(model.sent).toMatchObject([{ type: 'sync', since: 0, lines: -1 }]);
  model.trigger('msg:custom', updateJson(1, 0, 9, { trials: [trialJson(0)] }));
  await nextPicture();
  await nextPicture();
  for (const view of [left, right]) expect(view.textContent).toContain('lagom_runs/digits/x');
  ends[0]();
  expect(left.textContent).toBe('');
  model.trigger('msg:custom', updateJson(2, 9, 10, { run: runJson({ state: 'COMPLETE' }) }));
  await nextPicture();
  await nextPicture();
  expect(right.querySelector('.lagom-Pill')?.textContent).toContain('complete');
  ends[1]();
  end();
  expect(model.nCallbacks).toBe(0);
});

test('a widget without its kernel shows the head that was saved', async () => {
  const model = new TestModel({ run: runJson({ state: 'COMPLETE' }), dir: 'x' });
  const widget = defineWidget();
  widget.initialize({ model: wrapped(model) });
  const view = place();
  widget.render({ model: wrapped(model), el: view });
  model.trigger('destroy');
  await nextPicture();
  expect(view.querySelector('.lagom-Pill')?.textContent).toContain('complete');
});

test('the words come from the widget’s translations', async () => {
  const model = new TestModel({
    run: {},
    translations: { 'waiting for the first worker…': 'wartet auf den ersten Worker…' }
  });
  const view = place();
  const widget = defineWidget();
  widget.initialize({ model: wrapped(model) });
  widget.render({ model: wrapped(model), el: view });
  await nextPicture();
  expect(view.textContent).toContain('wartet auf den ersten Worker…');
});
