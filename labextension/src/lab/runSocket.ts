/**
 * The socket of a run: our server extension reads the run's folder, whatever its kernel does.
 */
import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';

import { SocketTransport } from '../transport/socket';

export function openRunSocket(dir: string, settings: ServerConnection.ISettings): SocketTransport {
  return new SocketTransport({
    url: () => {
      const token = settings.appendToken && settings.token !== '' ? { token: settings.token } : {};
      return URLExt.join(settings.wsUrl, 'lagom/view') + URLExt.objectToQueryString({ dir, ...token });
    },
    connect: url => new settings.WebSocket(url)
  });
}
