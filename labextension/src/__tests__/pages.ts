/** What tests of the view share: a transport whose other end is the test, and messages as Python sends them. */
import { Listeners } from '../transport/transport';
import type { ConnectionState, ITransport } from '../transport/transport';
import type { Request } from '../model/messages';

/** A transport in this process: the test reads what was sent, and says what comes. */
export class TestTransport implements ITransport {
  constructor(
    public state: ConnectionState = 'open',
    readonly startsOver = false
  ) {}

  readonly sent: Request[] = [];
  /** Replies by itself: the value for a request, or undefined for silence. */
  answer: (request: Request) => unknown = () => undefined;

  send(request: Request): void {
    this.sent.push(request);
    const value = this.answer(request);
    if (value !== undefined)
      queueMicrotask(() => this.receive({ type: 'reply', id: request.id, ok: true, value }));
  }

  receive(data: unknown): void {
    this._messages.call(data);
  }

  change(state: ConnectionState): void {
    this.state = state;
    this._states.call(state);
  }

  requests(type: Request['type']): Request[] {
    return this.sent.filter(request => request.type === type);
  }

  onMessage(listener: (data: unknown) => void): () => void {
    return this._messages.add(listener);
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    return this._states.add(listener);
  }

  dispose(): void {
    this._messages.clear();
    this._states.clear();
  }

  private readonly _messages = new Listeners<unknown>();
  private readonly _states = new Listeners<ConnectionState>();
}

type Json = Record<string, unknown>;

export function runJson(changes: Json = {}): Json {
  return {
    run_id: '20261122-093000-k3f7',
    experiment: 'digits',
    kind: 'hpo',
    direction: 'max',
    sampler: 'tpe',
    pruner: 'none',
    seed: 7,
    n_trials: 30,
    n_workers: 2,
    n_workers_alive: 2,
    state: 'RUNNING',
    state_reason: '',
    started_at: 1_795_339_800,
    ended_at: null,
    metric_name: 'accuracy',
    metric_names: ['accuracy'],
    hparam_names: ['lr', 'width'],
    counts: {},
    best_id: null,
    improvements: [],
    compute_saved: null,
    notices: [],
    ...changes
  };
}

export function trialJson(id: number, changes: Json = {}): Json {
  return {
    id,
    changed_at: id + 1,
    state: 'COMPLETE',
    worker_id: 1,
    duration_s: 1.5,
    step: 2,
    value: id / 100,
    hparams: { lr: 0.001 * (id + 1), width: 16 + id },
    metrics: { accuracy: id / 100 },
    curve: [
      [1, id / 200],
      [2, id / 100]
    ],
    ...changes
  };
}

export function updateJson(number: number, since: number, seq: number, changes: Json = {}): Json {
  return {
    type: 'update',
    number,
    time: 1_795_339_900,
    since,
    seq,
    has_more: false,
    run: runJson(),
    workers: [],
    trials: [],
    lines: null,
    ...changes
  };
}

export function linesJson(begin: number, texts: readonly string[], n_skipped = 0): Json {
  return { begin, end: begin + n_skipped + texts.length, n_skipped, texts };
}
