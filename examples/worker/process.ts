/**
 * A worker as a process: it lives until a signal asks it to end, and owns what the library leaves to the program.
 *
 * | signal | what happens | exit code |
 * |---|---|---|
 * | SIGTERM | no more jobs; those that run have `grace` to end, then they go back to the queue | 0, within `grace` + 2 s |
 * | SIGINT, SIGHUP | the same | 130, 129 |
 * | any of them again | the process ends at once; its jobs start elsewhere when their leases end | 128 + the signal's number |
 *
 * The database may be away when the process starts: it tries again, and says so, until it is there.
 */
import { Context, Effect, Layer, Schedule, Scope } from "effect"
import * as Worker from "penguiflow/Worker"

const numbers: Readonly<Partial<Record<NodeJS.Signals, number>>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }

export interface Options {
  /** Milliseconds. */
  readonly grace: number
  readonly onReady?: ((worker: Worker.Service) => void) | undefined
}

/** Never returns: it ends with the process. */
export const runWorker = <E>(live: Layer.Layer<Worker.Worker, E>, { grace, onReady }: Options): void => {
  const scope = Scope.makeUnsafe()
  let worker: Worker.Service | undefined
  let asked = false

  const retrying = Schedule.min([Schedule.exponential("250 millis"), Schedule.spaced("10 seconds")]).pipe(
    Schedule.tap(({ input }) => Effect.logWarning("the worker can't start yet, trying again", input))
  )
  const start = Layer.build(live).pipe(
    Scope.provide(scope),
    Effect.retry(retrying),
    Effect.tap((context) =>
      Effect.sync(() => {
        worker = Context.get(context, Worker.Worker)
        onReady?.(worker)
      })
    )
  )
  const starting = Effect.runFork(start)

  const end = Effect.gen(function*() {
    starting.interruptUnsafe()
    if (worker === undefined) return
    const { abandoned, drained, returned } = yield* worker.shutdown({ grace })
    yield* Effect.log(
      `shut down: ${drained} jobs ended, ${returned.length} returned to the queue, ${abandoned.length} left to their leases`
    )
  })

  for (const [signal, number] of Object.entries(numbers)) {
    process.on(signal, () => {
      const code = signal === "SIGTERM" ? 0 : 128 + number
      if (asked) process.exit(128 + number)
      asked = true
      // What is still open (a connection gone dark, for one) is not waited for.
      setTimeout(() => process.exit(code), grace + 1950)
      Effect.runFork(Effect.onExit(end, () => Effect.sync(() => process.exit(code))))
    })
  }
  // A program that dies of what no fiber has caught lets its jobs go first, if it can.
  process.on("uncaughtException", (error) => {
    process.stderr.write(`${String(error)}\n`)
    const gone = worker === undefined ? Effect.void : Effect.asVoid(worker.shutdown({ grace: 0 }))
    Effect.runFork(Effect.onExit(gone, () => Effect.sync(() => process.exit(1))))
  })
}
