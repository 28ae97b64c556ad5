/** The socket transport over a socket whose other end is the test. */
import { SocketTransport } from '../transport/socket';

class TestSocket {
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  readyState = 0;
  readonly sent: string[] = [];

  constructor(readonly url: string) {}

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  close(): void {
    this.readyState = 3;
    this.onclose?.();
  }

  send(text: string): void {
    this.sent.push(text);
  }
}

let sockets: TestSocket[];
let transport: SocketTransport;

beforeEach(() => {
  jest.useFakeTimers();
  sockets = [];
  transport = new SocketTransport({
    url: () => `ws://host/lagom/view?attempt=${sockets.length}`,
    connect: url => {
      const socket = new TestSocket(url);
      sockets.push(socket);
      return socket as unknown as WebSocket;
    }
  });
});

afterEach(() => {
  transport.dispose();
  jest.useRealTimers();
});

test('messages travel as JSON in both directions', () => {
  const received: unknown[] = [];
  transport.onMessage(data => received.push(data));
  transport.send({ type: 'importance', id: 'too early' });
  sockets[0].open();
  transport.send({ type: 'importance', id: '1' });
  sockets[0].onmessage?.({ data: '{"type":"reply"}' });
  expect(sockets[0].sent).toEqual(['{"type":"importance","id":"1"}']);
  expect(received).toEqual([{ type: 'reply' }]);
});

test('a frame that is no JSON is left out, with a word in the console', () => {
  const warn = jest.spyOn(console, 'warn').mockImplementation(() => undefined);
  const received: unknown[] = [];
  transport.onMessage(data => received.push(data));
  sockets[0].open();
  sockets[0].onmessage?.({ data: '{' });
  sockets[0].onmessage?.({ data: new ArrayBuffer(1) });
  expect(received).toEqual([]);
  expect(warn).toHaveBeenCalledTimes(1);
});

test('a broken socket is opened again, later each time', () => {
  const states: string[] = [];
  transport.onState(state => states.push(state));
  sockets[0].open();
  sockets[0].close();
  jest.advanceTimersByTime(700);
  expect(sockets.map(socket => socket.url)).toEqual([
    'ws://host/lagom/view?attempt=0',
    'ws://host/lagom/view?attempt=1'
  ]);
  sockets[1].close();
  jest.advanceTimersByTime(700);
  expect(sockets).toHaveLength(2);
  jest.advanceTimersByTime(700);
  sockets[2].open();
  expect(states).toEqual(['open', 'connecting', 'open']);
});

test('whoever made it learns whether the first attempt succeeded', async () => {
  sockets[0].close();
  expect(await transport.firstOpen).toBe(false);
});

test('a transport that was disposed of stays closed', () => {
  sockets[0].open();
  transport.dispose();
  jest.advanceTimersByTime(60_000);
  expect(sockets).toHaveLength(1);
  expect(transport.state).toBe('closed');
});
