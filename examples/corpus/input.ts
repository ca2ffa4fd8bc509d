/** Reads the input: JSON lines, compressed or not. Damage ends in a list of faults, never in a lost rest. */
import { Data, Effect } from "effect"
import { createReadStream } from "node:fs"
import { open } from "node:fs/promises"
import { pipeline } from "node:stream"
import { createGunzip } from "node:zlib"
import { InvalidDocument, RawLine } from "./address.ts"

/** The input can't be read at all. */
export class UnreadableInput extends Data.TaggedError("UnreadableInput")<{ readonly message: string }> {}

/** What was found: lines to be processed, and faults of the file itself. */
export interface Input {
  readonly lines: ReadonlyArray<RawLine>
  readonly faults: ReadonlyArray<InvalidDocument>
}

/** Whether a file is compressed is told by its first bytes, not by its name. */
export const readInput = (path: string): Effect.Effect<Input, UnreadableInput> =>
  Effect.map(
    Effect.tryPromise({
      try: (signal) => readBytes(path, signal),
      catch: (cause) =>
        new UnreadableInput({
          message:
            `can't read ${path}: ${cause instanceof Error ? cause.message : String(cause)}. Name a file of JSON ` +
            "lines, compressed with gzip or not, by --input."
        })
    }),
    ({ bytes, damage }) => split(bytes, damage)
  )

const readBytes = async (path: string, signal: AbortSignal) => {
  const chunks: Array<Buffer> = []
  let damage: string | undefined
  if (await isGzip(path)) {
    const unzipped = pipeline(createReadStream(path, { signal }), createGunzip(), () => {})
    try {
      for await (const chunk of unzipped) chunks.push(Buffer.from(chunk))
    } catch (cause) {
      signal.throwIfAborted()
      damage = cause instanceof Error ? cause.message : String(cause)
    }
  } else {
    for await (const chunk of createReadStream(path, { signal })) chunks.push(Buffer.from(chunk))
  }
  return { bytes: Buffer.concat(chunks), damage }
}

const isGzip = async (path: string) => {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b
  } finally {
    await file.close()
  }
}

const split = (bytes: Buffer, damage: string | undefined): Input => {
  const lines: Array<RawLine> = []
  const faults: Array<InvalidDocument> = []
  const fault = (line: number, problem: string) =>
    faults.push(new InvalidDocument({ line, id: undefined, problems: [problem] }))
  const utf8 = new TextDecoder("utf-8", { fatal: true })
  let line = 0
  for (let start = 0; start < bytes.length;) {
    line++
    const newline = bytes.indexOf(10, start)
    const end = newline === -1 ? bytes.length : newline
    // The last line of a damaged file was cut off: it is part of the damage.
    if (newline === -1 && damage !== undefined) break
    try {
      const text = utf8.decode(bytes.subarray(start, end)).trim()
      if (text !== "") lines.push(new RawLine({ line, text }))
    } catch {
      fault(line, "is not text in UTF-8")
    }
    start = end + 1
  }
  if (damage !== undefined) {
    fault(Math.max(1, bytes.at(-1) === 10 ? line + 1 : line), `the compressed file is damaged from here on (${damage})`)
  }
  return { lines, faults }
}
