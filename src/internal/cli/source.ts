/** Where messages come from: an argument, a file, standard input. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { Cutter, type Mode, type Raw } from "./messages.ts"

/** Which messages are wanted. */
export interface Wanted {
  readonly input: Option.Option<string>
  readonly file: Option.Option<string>
  readonly ndjson: boolean
  readonly maxBytes: number
}

/** Messages, and what to call the place that they come from. */
export interface Source {
  readonly name: string
  /** Whether no message at all is nothing to complain about. */
  readonly mayBeEmpty: boolean
  /** Fails with words where it can't be read. */
  readonly messages: Stream.Stream<Raw, string>
  /** Whether it turned out to be a message a line. */
  readonly lines: () => boolean
}

/** Fails with words where it is not there. Bytes are read as messages are wanted. */
export const sourceOf = (
  wanted: Wanted
): Effect.Effect<Source, string, FileSystem.FileSystem | Stdio.Stdio> =>
  Effect.gen(function*() {
    const input = Option.getOrUndefined(wanted.input)
    const file = Option.getOrUndefined(wanted.file)
    if (input !== undefined && file !== undefined) {
      return yield* Effect.fail("a message is given as an argument and by --file: give one of them")
    }
    if (input !== undefined && input !== "-") {
      const bytes = new TextEncoder().encode(input)
      return read("argument", Stream.make(bytes), wanted.ndjson ? "lines" : "whole", wanted)
    }
    if (file !== undefined && file !== "-") return yield* fileSource(file, wanted)
    const stdio = yield* Stdio.Stdio
    if (input === undefined && file === undefined && (yield* stdio.stdinIsTerminal)) {
      return yield* Effect.fail("no message: give it as an argument, by --file, or on standard input")
    }
    const stdin = Stream.mapError(stdio.stdin, (error) => `standard input can't be read: ${reasonOf(error)}`)
    return read("stdin", stdin, wanted.ndjson ? "lines" : "auto", wanted)
  })

const fileSource = Effect.fnUntraced(function*(file: string, wanted: Wanted) {
  const fs = yield* FileSystem.FileSystem
  const words = (error: PlatformError) => `${file}: ${reasonOf(error)}`
  const { type } = yield* Effect.mapError(fs.stat(file), words)
  if (type === "Directory") return yield* Effect.fail(`${file}: is a directory: name a file of it`)
  const mode: Mode = wanted.ndjson || /\.(?:ndjson|jsonl)$/i.test(file) ? "lines" : "auto"
  return read(file, Stream.mapError(fs.stream(file), words), mode, wanted)
})

const read = (name: string, bytes: Stream.Stream<Uint8Array, string>, mode: Mode, wanted: Wanted): Source => {
  const cutter = new Cutter(mode, wanted.maxBytes)
  return {
    name,
    mayBeEmpty: mode === "lines",
    messages: bytes.pipe(
      Stream.map((chunk) => cutter.push(chunk)),
      Stream.takeUntil(() => cutter.done),
      Stream.concat(Stream.suspend(() => Stream.make(cutter.end()))),
      Stream.flattenIterable
    ),
    lines: () => cutter.lines
  }
}

const reasonOf = (error: PlatformError): string => {
  switch (error.reason._tag) {
    case "NotFound":
      return "there is no such file"
    case "PermissionDenied":
      return "may not be read: permission denied"
    default: {
      const { cause } = error.reason
      const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : undefined
      return `can't be read: ${code ?? error.reason._tag}`
    }
  }
}
