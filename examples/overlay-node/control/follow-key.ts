/** One key of a store, followed over absences. */
import type { Event, Store, Watch } from './store/store.ts';

/** Milliseconds until a store that was away is asked again. */
const AGAIN = 1000;

/** Calls back with the value of a key, now and whenever it changes; null where it is not there. How to stop. */
export function followKey(store: Store, key: string, onValue: (value: string | null) => void): () => void {
  let watch: Watch | null = null;
  let timer: NodeJS.Timeout | null = null;
  let stopped = false;
  const again = () => {
    watch = null;
    if (!stopped) timer = setTimeout(begin, AGAIN).unref();
  };
  const begin = () => {
    // A list, because a watch begins at the revision of the whole store.
    store
      .list(key)
      .then(({ entries, revision }) => {
        if (stopped) return;
        onValue(entries.find((entry) => entry.key === key)?.value ?? null);
        watch = store.watch(key, revision, { onEvents, onEnd: again });
      })
      .catch(again);
  };
  const onEvents = (events: readonly Event[]) => {
    for (const event of events) {
      if (event.type === 'put' && event.entry.key === key) onValue(event.entry.value);
      else if (event.type === 'delete' && event.key === key) onValue(null);
    }
  };
  begin();
  return () => {
    stopped = true;
    watch?.close();
    if (timer !== null) clearTimeout(timer);
  };
}
