/**
 * One page's connection to one run: feeds the model, asks again after gaps and breaks, and sends what views ask.
 *
 * Made by the widget entry over a comm, and by the JupyterLab extension over a socket.
 */
import { Client, CONTROL_TIMEOUT_MS, REQUEST_TIMEOUT_MS, RequestError } from './client';
import { parseBoard, parseImportance, parseLogPiece, parsePicture, parseTrialDetails } from './details';
import type { IBoardAddress, ILogPiece, ITrialDetails } from './details';
import { recordOf, textOf } from './json';
import type { ControlAction, IUpdate } from './messages';
import { RunModel } from './runModel';
import type { ConnectionState, ITransport } from '../transport/transport';

const FILE_TIMEOUT_MS = 60_000;

export class RunSession {
  constructor(
    private readonly _transport: ITransport,
    readonly model: RunModel = new RunModel()
  ) {
    this._client = new Client(_transport, update => this._take(update));
    this._end = _transport.onState(state => {
      if (state === 'open') this._reconnected();
    });
    if (_transport.state === 'open') this.sync();
  }

  get connection(): ConnectionState {
    return this._transport.state;
  }

  onConnection(listener: (state: ConnectionState) => void): () => void {
    return this._transport.onState(listener);
  }

  /** Ask for what this page does not hold; does nothing while an earlier such question is open. */
  sync(): void {
    if (this._isSyncing) return;
    this._isSyncing = true;
    const { seq, lines } = this.model;
    this._client
      .request({ type: 'sync', since: seq, lines: lines.end === 0 ? -1 : lines.end }, REQUEST_TIMEOUT_MS)
      .catch((error: unknown) => {
        // A busy or stopped kernel answers nothing: the next update or connection tries again.
        if (!(error instanceof RequestError)) throw error;
        if (error.reason !== 'closed') console.info(`lagom: no sync with the run: ${error.message}`);
      })
      .finally(() => {
        this._isSyncing = false;
      });
  }

  async trial(trial_id: number, timeoutMs: number = REQUEST_TIMEOUT_MS): Promise<ITrialDetails> {
    return parseTrialDetails(await this._client.request({ type: 'trial', trial_id }, timeoutMs));
  }

  /** @param offset - a byte of the file; −1 for its end. */
  async log(trial_id: number, attempt: number, offset: number): Promise<ILogPiece> {
    return parseLogPiece(await this._client.request({ type: 'log', trial_id, attempt, offset }));
  }

  async picture(trial_id: number, attempt: number, path: string): Promise<Blob | null> {
    return parsePicture(
      await this._client.request({ type: 'file', trial_id, attempt, path }, FILE_TIMEOUT_MS)
    );
  }

  async importance(): Promise<[name: string, share: number][]> {
    return parseImportance(await this._client.request({ type: 'importance' }));
  }

  /** Where the run's TensorBoard listens; starts it when it is not there. */
  async board(): Promise<IBoardAddress | null> {
    return parseBoard(await this._client.request({ type: 'board' }, FILE_TIMEOUT_MS));
  }

  /** @returns what will happen, in words. */
  async control(action: ControlAction, trial_id: number | null): Promise<string> {
    const value = await this._client.request({ type: 'control', action, trial_id }, CONTROL_TIMEOUT_MS);
    return textOf(recordOf(value).text);
  }

  dispose(): void {
    this._end();
    this._client.dispose();
    this._transport.dispose();
  }

  private _take(update: IUpdate): void {
    if (this.model.apply(update)) this.sync();
  }

  private _reconnected(): void {
    if (this._transport.startsOver) this.model.restartNumbers();
    this.sync();
  }

  private readonly _client: Client;
  private readonly _end: () => void;
  private _isSyncing = false;
}
