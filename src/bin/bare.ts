/** What a command line needs where `@effect/platform-node` is not installed: enough to ask for help and to make a project. */
import type * as Cause from "effect/Cause"
import type * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as PlatformError from "effect/PlatformError"
import * as ChildProcessSpawner from "effect/process/ChildProcessSpawner"
import * as Queue from "effect/Queue"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"

/** Whether these arguments ask for no more than that. */
export const suffices = (args: ReadonlyArray<string>): boolean =>
  args[0] === "new" || args.length === 1 && /^(?:--help|-h|--version|-v)$/.test(args[0] ?? "")

const failed = (method: string) =>
  PlatformError.systemError({ _tag: "Unknown", module: "Stdio", method, description: "it can't be written to" })

const output = (stream: NodeJS.WriteStream, method: string) => () =>
  Sink.forEach((text: string | Uint8Array) =>
    Effect.callback<void, PlatformError.PlatformError>((resume) => {
      stream.write(text, (error) => resume(error ? Effect.fail(failed(method)) : Effect.void))
    })
  )

const stdio = Stdio.make({
  args: Effect.sync(() => process.argv.slice(2)),
  stdout: output(process.stdout, "stdout"),
  stderr: output(process.stderr, "stderr"),
  stdin: Stream.empty,
  stdoutIsTerminal: Effect.sync(() => process.stdout.isTTY),
  stderrIsTerminal: Effect.sync(() => process.stderr.isTTY)
})

const size = (): Terminal.Size => ({ columns: process.stdout.columns ?? 80, rows: process.stdout.rows ?? 24 })
const ended = <A>(first: ReadonlyArray<A>): Effect.Effect<Queue.Dequeue<A, Cause.Done>> =>
  Effect.tap(
    Queue.unbounded<A, Cause.Done>(),
    (queue) => Effect.andThen(Queue.offerAll(queue, first), Queue.end(queue))
  )

/** Nobody is asked anything. */
const terminal = Terminal.make({
  columns: Effect.sync(() => size().columns),
  rows: Effect.sync(() => size().rows),
  size: Effect.suspend(() => ended([size()])),
  readInput: ended([]),
  readLine: Effect.fail(new Terminal.QuitError()),
  display: (text) => Effect.sync(() => process.stdout.write(text))
})

export const layer: Layer.Layer<Command.Environment> = Layer.mergeAll(
  FileSystem.layerNoop({}),
  Path.layer,
  Layer.succeed(Stdio.Stdio, stdio),
  Layer.succeed(Terminal.Terminal, terminal),
  Layer.succeed(
    ChildProcessSpawner.ChildProcessSpawner,
    ChildProcessSpawner.make(() => Effect.die("no program is started here"))
  )
)
