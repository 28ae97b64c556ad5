/** Preact hooks of the view: what changed, how wide, what time. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { RefObject } from 'preact';

import type { RunModel } from '../model/runModel';

/** Draws again after each change of the model; returns its revision. */
export function useRevision(model: RunModel): number {
  const [, draw] = useState(0);
  useEffect(() => {
    draw(n => n + 1); // what changed between the first picture and this subscription
    return model.subscribe(() => draw(n => n + 1));
  }, [model]);
  return model.revision;
}

/** The element's inner width and height in CSS pixels; the fallback until it is known. */
export function useSize(
  ref: RefObject<HTMLElement>,
  fallback: { width: number; height: number }
): { width: number; height: number } {
  const [size, setSize] = useState(fallback);
  useLayoutEffect(() => {
    const element = ref.current;
    if (element === null || typeof ResizeObserver === 'undefined') return undefined;
    const measure = () => {
      const { clientWidth: width, clientHeight: height } = element;
      if (width > 0) setSize(old => (old.width === width && old.height === height ? old : { width, height }));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [ref]);
  return size;
}

/** This page's clock in seconds since the epoch; ticks once a second while `isTicking`. */
export function useNow(isTicking: boolean): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    if (!isTicking) return undefined;
    const timer = setInterval(() => setNow(Date.now() / 1000), 1000);
    return () => clearInterval(timer);
  }, [isTicking]);
  return isTicking ? Math.max(now, 0) : now;
}

/** The value, but changed at most once in `intervalMs`: what is read aloud, or costly to draw. */
export function useCalm<T>(value: T, intervalMs: number): T {
  const [shown, setShown] = useState(value);
  const changedAt = useRef(0);
  useEffect(() => {
    if (value === shown) return undefined;
    const wait = Math.max(0, changedAt.current + intervalMs - Date.now());
    const timer = setTimeout(() => {
      changedAt.current = Date.now();
      setShown(() => value);
    }, wait);
    return () => clearTimeout(timer);
  }, [value, shown, intervalMs]);
  return shown;
}

/** The latest value, for callbacks that live longer than one picture. */
export function useLatest<T>(value: T): RefObject<T> & { current: T } {
  const ref = useRef(value);
  ref.current = value;
  return ref as RefObject<T> & { current: T };
}
