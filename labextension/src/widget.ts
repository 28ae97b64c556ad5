/**
 * What anywidget loads under a cell: the view over the widget's own channel.
 *
 * A widget may be shown several times; its views share one session, which lives as long as the widget.
 */
import { translatorOf } from './i18n';
import type { Translations } from './i18n';
import { isRecord, textOf } from './model/json';
import { parseRun } from './model/messages';
import { RunSession } from './model/session';
import { CommTransport } from './transport/comm';
import type { IWidgetModel } from './transport/comm';
import { mountRunView } from './view/mount';

/** What anywidget calls; both get a new wrapper around the widget's model each time, so neither can be told apart by it. */
interface IWidgetDefinition {
  initialize(context: { model: IWidgetModel }): () => void;
  render(context: { model: IWidgetModel; el: HTMLElement }): () => void;
}

/** Called once for a widget: what `initialize` makes here, all its views share. */
export default function defineWidget(): IWidgetDefinition {
  let session: RunSession | null = null;

  const initialize = ({ model }: { model: IWidgetModel }) => {
    const made = new RunSession(new CommTransport(model));
    const head = model.get('run');
    // The head that was saved with the widget: all there is when its kernel is gone.
    if (isRecord(head) && typeof head.run_id === 'string') made.model.preview(parseRun(head));
    session = made;
    return () => {
      session = null;
      made.dispose();
    };
  };

  const render = ({ model, el }: { model: IWidgetModel; el: HTMLElement }) => {
    if (session === null) throw new Error('A view of a run needs its widget to be initialized first.');
    if (session.model.seq === 0) session.sync();
    const translations = model.get('translations');
    const view = mountRunView(el, {
      session,
      translator: translatorOf(isRecord(translations) ? (translations as Translations) : {}),
      folder: textOf(model.get('dir'))
    });
    return () => view.dispose();
  };

  return { initialize, render };
}
