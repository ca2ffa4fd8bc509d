/** Bytes become messages: one, or one a line, told apart by the first line where nobody says which. */
import { isJson } from "./json.ts"

/** A message as it was read. */
export type Raw =
  /** `line` is undefined where the whole input is one message. */
  | { readonly _tag: "Text"; readonly line: number | undefined; readonly text: string }
  | { readonly _tag: "Fault"; readonly line: number | undefined; readonly what: string }

/**
 * How the input is cut. `auto`: a first line that is JSON by itself makes it lines, for nothing may follow it in one
 * document; else the whole is one message.
 */
export type Mode = "lines" | "whole" | "auto"

const newline = 10

/** Takes bytes as they come and gives messages as soon as they are whole. Holds at most one message. */
export class Cutter {
  readonly #maxBytes: number
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true })
  #mode: Mode
  /** Of the message that is being read. */
  #held: Array<Uint8Array> = []
  #heldBytes = 0
  #line = 1
  /** The rest of a line that is too long is passed over. */
  #skipping = false
  #done = false

  constructor(mode: Mode, maxBytes: number) {
    this.#mode = mode
    this.#maxBytes = maxBytes
  }

  /** Whether more bytes change nothing. */
  get done(): boolean {
    return this.#done
  }

  /** Whether the input turned out to be lines. */
  get lines(): boolean {
    return this.#mode === "lines"
  }

  push(bytes: Uint8Array): Array<Raw> {
    const out: Array<Raw> = []
    let from = 0
    while (from < bytes.length && !this.#done) {
      const at = this.#mode === "whole" ? -1 : bytes.indexOf(newline, from)
      const to = at < 0 ? bytes.length : at
      this.#hold(bytes.subarray(from, to), out)
      from = to + 1
      if (at < 0) break
      if (this.#mode === "auto") this.#decide()
      if (this.#mode === "lines") this.#endLine(out)
      else {
        this.#hold(bytes.subarray(at, from), out)
        this.#line++
      }
    }
    return out
  }

  end(): Array<Raw> {
    const out: Array<Raw> = []
    if (this.#done) return out
    if (this.#mode === "lines") this.#endLine(out)
    else this.#give(undefined, out)
    this.#done = true
    return out
  }

  /** A line is there; blank ones say nothing yet. */
  #decide(): void {
    const text = this.#text()
    if (text?.trim() !== "") this.#mode = text !== undefined && isJson(text) ? "lines" : "whole"
  }

  #hold(bytes: Uint8Array, out: Array<Raw>): void {
    if (this.#skipping || bytes.length === 0) return
    if (this.#heldBytes + bytes.length > this.#maxBytes) {
      const line = this.#mode === "lines" ? this.#line : undefined
      out.push({ _tag: "Fault", line, what: `is longer than ${this.#maxBytes} bytes: --max-bytes allows more` })
      this.#drop()
      if (this.#mode === "lines") this.#skipping = true
      else this.#done = true
      return
    }
    // A copy: whoever reads may use its buffer again.
    this.#held.push(bytes.slice())
    this.#heldBytes += bytes.length
  }

  #endLine(out: Array<Raw>): void {
    if (!this.#skipping) this.#give(this.#line, out)
    this.#skipping = false
    this.#line++
  }

  #give(line: number | undefined, out: Array<Raw>): void {
    const text = this.#text()
    this.#drop()
    if (text === undefined) out.push({ _tag: "Fault", line, what: "is not text in UTF-8" })
    else if (text.trim() !== "") out.push({ _tag: "Text", line, text })
  }

  #text(): string | undefined {
    const bytes = this.#held.length === 1 ? this.#held[0]! : concat(this.#held, this.#heldBytes)
    try {
      return this.#utf8.decode(bytes)
    } catch {
      return undefined
    }
  }

  #drop(): void {
    this.#held = []
    this.#heldBytes = 0
  }
}

const concat = (parts: ReadonlyArray<Uint8Array>, length: number): Uint8Array => {
  const all = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
