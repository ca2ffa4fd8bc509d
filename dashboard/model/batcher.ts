/** What comes piece by piece, handed on in batches: at most ten a second, each before a frame is drawn. */

export interface Timers {
  readonly now: () => number
  readonly hidden: () => boolean
  readonly frame: (run: () => void) => void
  readonly later: (run: () => void, ms: number) => void
}

/** Between two batches, in milliseconds: faster than this nobody reads. */
const apart = 100
/** A page that is hidden draws no frames: then batches come by this timer. */
const whileHidden = 1000
/** More than this is handed on at once, so that what waits is bounded, whatever the timers do. */
const most = 2000

export const makeBatcher = <A>(
  flush: (batch: ReadonlyArray<A>) => void,
  timers: Timers
): (items: Iterable<A>) => void => {
  let waiting: Array<A> = []
  let scheduled = false
  let last = -Infinity
  const run = () => {
    if (waiting.length === 0) return
    const batch = waiting
    waiting = []
    last = timers.now()
    flush(batch)
  }
  const due = () => {
    scheduled = false
    run()
  }
  const schedule = () => {
    if (scheduled || waiting.length === 0) return
    scheduled = true
    if (timers.hidden()) return timers.later(due, whileHidden)
    const wait = last + apart - timers.now()
    if (wait <= 0) timers.frame(due)
    else timers.later(() => timers.hidden() ? due() : timers.frame(due), wait)
  }
  return (items) => {
    for (const item of items) waiting.push(item)
    if (waiting.length >= most) run()
    schedule()
  }
}
