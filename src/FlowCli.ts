/**
 * A flow as a command line: {@link run} turns any script into one.
 *
 * ```ts
 * #!/usr/bin/env node
 * import { NodeServices } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import * as FlowCli from "penguiflow/FlowCli"
 * import { flow, layer } from "./flow.ts"
 *
 * FlowCli.run(flow, layer).pipe(Effect.provide(NodeServices.layer), FlowCli.runMain(process))
 * ```
 *
 * Messages come from an argument, `--file`, or standard input, one or one a line; each is decoded by the flow's input
 * schema. Results go to standard output as lines of JSON and everything else to standard error: what nodes log, too.
 * An error is one line that says what is wrong and where; it holds no input, and no stack unless `--debug` asks for one.
 *
 * | Exit code | |
 * |---|---|
 * | 0 | every message gave its results; or whoever read them had seen enough |
 * | 1 | a message failed or did not fit and others were run, or results could not be written |
 * | 2 | no message was run: wrong usage, unreadable input, input that does not fit, a layer that can't be built |
 * | 130, 143 | interrupted by SIGINT, by SIGTERM |
 *
 * An interruption takes no more messages and interrupts those that are open, whose finalizers and compensations run.
 */
import type * as Cause from "effect/Cause"
import * as Argument from "effect/cli/Argument"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import { dual } from "effect/Function"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type * as Terminal from "effect/Terminal"
import type { Any, Flow } from "./Flow.ts"
import { draw } from "./internal/cli/drawing.ts"
import { exitWith, main, type Signal, signalOf } from "./internal/cli/main.ts"
import { columns, isWriteFailed, makeOutput } from "./internal/cli/output.ts"
import { oneLine } from "./internal/cli/text.ts"
import { toGraphViz } from "./internal/diagram/dot.ts"
import { toMermaid } from "./internal/diagram/mermaid.ts"
import type { Options as Diagram } from "./internal/diagram/options.ts"
import { planOf } from "./internal/plan.ts"
import { messageOf } from "./internal/text.ts"

export { columns } from "./internal/cli/output.ts"
export { fit, ndjson, oneLine } from "./internal/cli/text.ts"
export { exitWith, type Signal, signalOf }

const EndedBase: new(fields: { readonly code: number }) => Cause.YieldableError & {
  readonly _tag: "Ended"
  readonly code: number
} = Data.TaggedError("Ended")

/** The command has said what there was to say, and ends the process with this code. Main programs report nothing more. */
export class Ended extends EndedBase {
  constructor(fields: { readonly code: number }) {
    super(fields)
    Object.assign(this, { [Runtime.errorExitCode]: fields.code, [Runtime.errorReported]: false })
  }
}

/** What a command that runs a flow is asked for. */
export interface Given {
  /** One message, as JSON. */
  readonly input: Option.Option<string>
  readonly file: Option.Option<string>
  readonly ndjson: boolean
  readonly concurrency: number
  readonly stream: boolean
  readonly deadline: Option.Option<Duration.Duration>
  readonly tenant: Option.Option<string>
  readonly maxBytes: number
  readonly debug: boolean
}

/** What a script says of its command line. */
export interface Options {
  /** The command's name in its help; default: the flow's. */
  readonly name?: string | undefined
  /** What `--version` prints; default "0.0.0". */
  readonly version?: string | undefined
  readonly description?: string | undefined
  /** Default: those of the process, as `Stdio` knows them. */
  readonly args?: ReadonlyArray<string> | undefined
}

/** What {@link runMain} needs of a process: Node's `process` is one. */
export interface Process {
  readonly stdout: ProcessOutput
  readonly stderr: ProcessOutput
  on(signal: Signal, listener: (signal: Signal) => void): unknown
  off(signal: Signal, listener: (signal: Signal) => void): unknown
  exit(code: number): unknown
}

/** An output of a {@link Process}. */
export interface ProcessOutput {
  readonly writable: boolean
  on(event: "error", listener: () => void): unknown
  write(text: string, done?: () => void): unknown
}

const atLeastOne = (name: string) =>
  Flag.Int(name).pipe(Flag.filter((n) => n >= 1, () => "Expected a whole number from 1 on"))

/** The arguments and flags of a command that runs a flow, for `Command.make`; it gives {@link Given}. */
export const params: {
  readonly input: Argument.Argument<Option.Option<string>>
  readonly file: Flag.Flag<Option.Option<string>>
  readonly ndjson: Flag.Flag<boolean>
  readonly concurrency: Flag.Flag<number>
  readonly stream: Flag.Flag<boolean>
  readonly deadline: Flag.Flag<Option.Option<Duration.Duration>>
  readonly tenant: Flag.Flag<Option.Option<string>>
  readonly maxBytes: Flag.Flag<number>
  readonly debug: Flag.Flag<boolean>
} = {
  input: Argument.String("input").pipe(
    Argument.withDescription("One message, as JSON; default: what comes from standard input"),
    Argument.optional
  ),
  file: Flag.String("file").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Reads messages from a file: .ndjson and .jsonl hold one a line; - is standard input"),
    Flag.optional
  ),
  ndjson: Flag.Boolean("ndjson").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Each line is a message, whatever the first one looks like and the file is called")
  ),
  concurrency: atLeastOne("concurrency").pipe(
    Flag.withDefault(8),
    Flag.withDescription("How many messages are in the flow at once; results keep the order of the messages")
  ),
  stream: Flag.Boolean("stream").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Prints parts as they come, and results as they arrive, each with its node and line")
  ),
  deadline: Flag.String("deadline").pipe(
    Flag.withMetavar("DURATION"),
    Flag.filterMap(
      (text) => Duration.fromInput(/^\d+$/.test(text) ? Number(text) : text as Duration.Input),
      () => "Expected a duration such as \"30 seconds\", or milliseconds"
    ),
    Flag.withDescription("How long one message may take"),
    Flag.optional
  ),
  tenant: Flag.String("tenant").pipe(Flag.withDescription("Whose messages they are"), Flag.optional),
  maxBytes: atLeastOne("max-bytes").pipe(
    Flag.withDefault(16 * 1024 * 1024),
    Flag.withDescription("How long one message may be")
  ),
  debug: Flag.Boolean("debug").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Shows causes and stacks of errors on standard error")
  )
}

/**
 * The command line of one flow, as an Effect that needs what a terminal is: `NodeServices.layer` gives it.
 *
 * It fails with {@link Ended}, which holds the exit code, after everything has been said. It touches no signal:
 * interrupting it is what a signal does, and {@link runMain} connects the two. The layer is built once, before the first
 * message, and released after the last. A flow that needs nothing takes `Layer.empty`.
 *
 * @example
 * ```ts runnable
 * import { NodeServices } from "@effect/platform-node"
 * import { Effect, Layer, Schema, Sink, Stdio } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as FlowCli from "penguiflow/FlowCli"
 *
 * const double = Node.make("double", {
 *   input: Schema.Struct({ n: Schema.Number }),
 *   output: Schema.Number,
 *   run: ({ n }) => Effect.succeed(n * 2)
 * })
 * const flow = Flow.make("doubling", [double.to()])
 *
 * const out: Array<string> = []
 * const stdio = Stdio.layerTest({
 *   stdout: () => Sink.forEach((text) => Effect.sync(() => out.push(String(text))))
 * })
 * const command = FlowCli.run(flow, Layer.empty, { args: ['{ "n": 21 }'] })
 * await Effect.runPromise(command.pipe(Effect.provide(stdio), Effect.provide(NodeServices.layer)))
 * out // => ["42\n"]
 * ```
 */
export const run = <In, Out, E, R, Part, Provided, LE, LR>(
  flow: Flow<string, In, Out, E, R, Part>,
  layer: Layer.Layer<Provided, LE, LR>,
  options?: Options
): Effect.Effect<void, Ended, Exclude<Exclude<R, Provided>, Scope.Scope> | LR | Command.Environment> =>
  runCommand(
    Command.make(options?.name ?? flow.name, params, (given) => runGiven(flow, layer, given)).pipe(
      Command.withDescription(`${options?.description ?? `Runs messages through the flow "${flow.name}".`}

  Results are lines of JSON on standard output; everything else is on standard error.

  Exit codes: 0 done, 1 a message failed, 2 no message was run, 130 and 143 interrupted.`)
    ),
    { version: options?.version ?? "0.0.0", args: options?.args }
  )

/**
 * Any command of `effect/cli`, with errors of usage as one line on standard error and exit code 2. Help, version and
 * completions are as `effect/cli` gives them, but that shells complete files where an argument or a flag is called as one
 * of `files`; default: `file`.
 */
export const runCommand = <Name extends string, Input, E, R, ContextInput>(
  command: Command.Command<Name, Input, ContextInput, E, R>,
  options: {
    readonly version: string
    readonly args?: ReadonlyArray<string> | undefined
    readonly files?: ReadonlyArray<string> | undefined
  }
): Effect.Effect<void, Exclude<E, Terminal.QuitError> | Ended, R | Command.Environment> =>
  Effect.flatMap(
    options.args === undefined ? Stdio.Stdio.use(({ args }) => args) : Effect.succeed(options.args),
    (args) => {
      const pages: Array<string> = []
      return Command.runWith(command, { version: options.version })(args).pipe(
        Effect.provideService(CliOutput.Presenter, presenterTo(pages)),
        Effect.provideService(CliConfig.CliConfig, { builtIns: builtInsFor(options.files ?? ["file"], pages) }),
        Effect.catch((error): Effect.Effect<void, Exclude<E, Terminal.QuitError> | Ended> =>
          isShowHelp(error)
            ? error.errors.length === 0 ? Effect.void : Effect.fail(new Ended({ code: 2 }))
            : Effect.fail(error as Exclude<E, Terminal.QuitError>)
        ),
        // The console would not say that a disk is full.
        Effect.andThen(Effect.suspend(() => pages.length === 0 ? Effect.void : print(Stream.fromIterable(pages))))
      )
    }
  )

/** What {@link run} does once the command line has been read: for commands that hold {@link params} among others. */
export const runGiven = <In, Out, E, R, Part, Provided, LE, LR>(
  flow: Flow<string, In, Out, E, R, Part>,
  layer: Layer.Layer<Provided, LE, LR>,
  given: Given
): Effect.Effect<
  void,
  Ended,
  Exclude<Exclude<R, Provided>, Scope.Scope> | LR | FileSystem.FileSystem | Stdio.Stdio | Terminal.Terminal
> =>
  // Loaded when something is run: help comes without it.
  Effect.flatMap(
    Effect.promise(() => import("./internal/cli/execute.ts")),
    ({ execute }) => Effect.mapError(execute(flow, layer, given), (code) => new Ended({ code }))
  )

/**
 * Runs a command line as the main program of a process: of the one that it is given, for the library knows none.
 *
 * The first SIGINT or SIGTERM interrupts, and the process ends with 130 or 143 when everything has been released; the
 * second ends it at once. What was written gets out before the process ends. `NodeRuntime.runMain` serves as well: it
 * ends with 130 after either signal, does not hear a second one, and may cut off what a slow reader has not read yet.
 *
 * A program that ends well after a signal may say so: {@link signalOf} reads from the cause of the interruption which one
 * it was, and {@link exitWith} says with which code the process is to end.
 */
export const runMain: {
  (process: Process): <A, E>(effect: Effect.Effect<A, E>) => void
  <A, E>(effect: Effect.Effect<A, E>, process: Process): void
} = dual(2, <A, E>(effect: Effect.Effect<A, E>, process: Process): void => main(process)(effect))

/**
 * A flow as text for a terminal: chains as far as they go without a choice, branches one below the other, and a node
 * that several edges lead to once, at the left. In declaration order, so that the same flow always gives the same text.
 *
 * `columns` (default: no limit) is where lines are cut.
 *
 * @example
 * ```ts runnable
 * import { Effect, Schema } from "effect"
 * import { Flow, Node } from "penguiflow"
 * import * as FlowCli from "penguiflow/FlowCli"
 *
 * const n = (name: string) =>
 *   Node.make(name, { input: Schema.Number, output: Schema.Number, run: (x) => Effect.succeed(x) })
 * const [read, left, right] = [n("read"), n("left"), n("right")]
 * const text = FlowCli.toText(Flow.make("fork", [read.to(left, right)]))
 * text.split("\n") // => ["fork", "read", "├─ left ■", "└─ right ■"]
 * ```
 */
export const toText = (flow: Any, options?: { readonly columns?: number | undefined }): string =>
  draw(planOf(flow), options?.columns ?? Infinity).join("\n")

/** Writes one line to standard error, whatever the text is made of: controls are escaped, the rest of 2000 is cut. */
export const say = (text: string): Effect.Effect<void> => Console.error(oneLine(text))

/**
 * Writes results to standard output until there are no more. A reader who leaves ends it well; where it can't be written
 * to, that is said, and it fails with {@link Ended} 1.
 *
 * @example
 * ```ts runnable
 * import { NodeServices } from "@effect/platform-node"
 * import { Effect, Sink, Stdio, Stream } from "effect"
 * import * as FlowCli from "penguiflow/FlowCli"
 *
 * const out: Array<string> = []
 * const stdio = Stdio.layerTest({
 *   stdout: () => Sink.forEach((text) => Effect.sync(() => out.push(String(text))))
 * })
 * const program = FlowCli.print(Stream.make("one\n", "two\n"))
 * await Effect.runPromise(program.pipe(Effect.provide(stdio), Effect.provide(NodeServices.layer)))
 * out // => ["one\n", "two\n"]
 * ```
 */
export const print = <E, R>(
  text: Stream.Stream<string, E, R>
): Effect.Effect<void, E | Ended, R | Stdio.Stdio | Terminal.Terminal> =>
  Effect.flatMap(
    makeOutput,
    (out) =>
      Effect.catch(out.results(text), (error): Effect.Effect<void, E | Ended> =>
        !isWriteFailed(error)
          ? Effect.fail(error)
          : error.closed
          ? Effect.void
          : Effect.andThen(out.say(`✗ ${error.message}`), Effect.fail(new Ended({ code: 1 }))))
  )

/**
 * Prints a flow: `text` as wide as this terminal, `mermaid`, `dot` or `svg` for other programs. `options` are about those
 * three; see `FlowDiagram.Options`. It ends with 2 where the flow can't be drawn, and with 1 where it can't be written.
 */
export const graph = (
  flow: Any,
  format: "text" | "mermaid" | "dot" | "svg",
  options?: Diagram
): Effect.Effect<void, Ended, Stdio.Stdio | Terminal.Terminal> =>
  Effect.gen(function*() {
    const out = yield* makeOutput
    const wide = yield* columns
    const watched = yield* Stdio.Stdio.use(({ stdoutIsTerminal }) => stdoutIsTerminal)
    const text = yield* Effect.catch(
      Effect.tryPromise({
        try: async () => {
          switch (format) {
            case "mermaid":
              return toMermaid(flow, options)
            case "dot":
              return toGraphViz(flow, options)
            case "svg":
              // What runs flows does not load what lays them out.
              return (await import("./internal/diagram/svg.ts")).toSvg(flow, options)
            case "text":
              return toText(flow, watched ? { columns: wide } : undefined)
          }
        },
        catch: messageOf
      }),
      (message) => Effect.andThen(out.say(`✗ ${message}`), Effect.fail(new Ended({ code: 2 })))
    )
    yield* Effect.catch(out.results(Stream.make(`${text}\n`)), (error) =>
      error.closed
        ? Effect.void
        : Effect.andThen(out.say(`✗ ${error.message}`), Effect.fail(new Ended({ code: 1 }))))
  })

// ----------------------------------------------------------------------------------------------------------- internals

/** Help and version as they are, but for later; of an invocation that is wrong one line, and nothing else. */
const presenterTo = (pages: Array<string>): CliOutput.Presenter => {
  const kept: Console.Console = Object.assign(Object.create(globalThis.console) as Console.Console, {
    log: (...text: ReadonlyArray<unknown>) => void pages.push(`${text.join(" ")}\n`)
  })
  return {
    present: (event) =>
      event._tag === "InvalidInvocation"
        ? Console.error(
          `✗ ${oneLine(event.errors.map(usage).join("; "))}. See ${event.commandPath.join(" ")} --help`
        )
        : Effect.provideService(CliOutput.defaultPresenter.present(event), Console.Console, kept)
  }
}

/** What `effect/cli` has for every command, with completions that know what files are. */
const builtInsFor = (files: ReadonlyArray<string>, pages: Array<string>): ReadonlyArray<GlobalFlag.BuiltIn> => {
  const completed = <A extends { readonly name: string; readonly type: Completions.FlagType }>(value: A): A =>
    value.type._tag === "String" && files.includes(value.name)
      ? { ...value, type: { _tag: "Path", pathType: "either" } }
      : value
  const described = (command: Completions.CommandDescriptor): Completions.CommandDescriptor => ({
    ...command,
    flags: command.flags.map(completed),
    arguments: command.arguments.map(completed),
    subcommands: command.subcommands.map(described)
  })
  const completions = GlobalFlag.Action({
    flag: GlobalFlag.Completions.flag,
    run: (shell, { command }) =>
      Effect.sync(() => {
        if (shell._tag === "None") return
        const descriptor = described(Completions.fromCommand(command))
        pages.push(`${Completions.generate(command.name, shell.value, descriptor)}\n`)
      })
  })
  return GlobalFlag.BuiltIns.map((flag) => flag === GlobalFlag.Completions ? completions : flag)
}

/** What is wrong with an invocation. Arguments are messages, and are not repeated. */
const usage = (error: CliError.NonShowHelpErrors): string => {
  switch (error._tag) {
    case "UnexpectedArgument":
      return "There are more arguments than one message: put it into single quotes"
    case "UnrecognizedOption":
      return `Unrecognized flag: ${error.option.slice(0, 80)}${similar(error.suggestions)}`
    case "UnknownSubcommand":
      return `Unknown command: ${error.subcommand.slice(0, 80)}${similar(error.suggestions)}`
    case "InvalidValue":
      return error.value === ""
        ? `Missing value for --${error.option}. ${expectation(error.expected)}`
        : `Invalid value for ${error.kind === "flag" ? "--" : ""}${error.option}: ${
          JSON.stringify(error.value.slice(0, 80))
        }. ${expectation(error.expected)}`
    default:
      return error.message
  }
}

const expectation = (text: string): string => text.startsWith("Expected") ? text : `Expected: ${text}`

const similar = (suggestions: ReadonlyArray<string>): string =>
  suggestions.length === 0 ? "" : ` (did you mean ${suggestions.join(" or ")}?)`

const isShowHelp = (error: unknown): error is CliError.ShowHelp =>
  CliError.isCliError(error) && error._tag === "ShowHelp"
