import { assert, describe, it } from "@effect/vitest"
import { Cutter, type Mode, type Raw } from "../../../src/internal/cli/messages.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

/** What comes of these chunks, each as short as `size`. */
const cut = (mode: Mode, text: string | Uint8Array, size = Infinity, maxBytes = 1000): ReadonlyArray<Raw> => {
  const all = typeof text === "string" ? bytes(text) : text
  const cutter = new Cutter(mode, maxBytes)
  const out: Array<Raw> = []
  for (let at = 0; at < all.length; at += Math.min(size, all.length)) out.push(...cutter.push(all.slice(at, at + size)))
  out.push(...cutter.end())
  return out
}

const text = (line: number | undefined, it: string): Raw => ({ _tag: "Text", line, text: it })

describe("messages out of bytes", () => {
  for (const size of [1, 2, 3, 7, Infinity]) {
    it(`lines are lines, in chunks of ${size}`, () => {
      assert.deepStrictEqual(cut("lines", "1\r\n\n  \n{bad\n\"é\"", size), [
        text(1, "1\r"),
        text(4, "{bad"),
        text(5, "\"é\"")
      ])
    })

    it(`a first line that is JSON by itself makes lines of it, in chunks of ${size}`, () => {
      assert.deepStrictEqual(cut("auto", "\n {\"n\":1}\n{\"n\":2}\n", size), [
        text(2, "\n {\"n\":1}"),
        text(3, "{\"n\":2}")
      ])
    })

    it(`any other first line makes one document of it, in chunks of ${size}`, () => {
      const document = "\n{\n  \"n\": 1\n}\n"
      assert.deepStrictEqual(cut("auto", document, size), [text(undefined, document)])
      assert.deepStrictEqual(cut("auto", "{bad\n{\"n\":2}\n", size), [text(undefined, "{bad\n{\"n\":2}\n")])
    })

    it(`bytes that are no text are a fault of their line alone, in chunks of ${size}`, () => {
      const input = Uint8Array.from([0x31, 10, 0xff, 0xfe, 10, 0x32])
      assert.deepStrictEqual(cut("lines", input, size), [
        text(1, "1"),
        { _tag: "Fault", line: 2, what: "is not text in UTF-8" },
        text(3, "2")
      ])
    })

    it(`a line that is too long is a fault, and the next ones are read, in chunks of ${size}`, () => {
      const what = "is longer than 5 bytes: --max-bytes allows more"
      assert.deepStrictEqual(cut("lines", "12345\n123456789012\n3", size, 5), [
        text(1, "12345"),
        { _tag: "Fault", line: 2, what },
        text(3, "3")
      ])
    })
  }

  it("a document that is too long is read no further", () => {
    const cutter = new Cutter("whole", 5)
    assert.deepStrictEqual(cutter.push(bytes("123456")).map((raw) => raw._tag), ["Fault"])
    assert.isTrue(cutter.done)
    assert.deepStrictEqual([...cutter.push(bytes("7")), ...cutter.end()], [])
  })

  it("a message is there as soon as its line is", () => {
    const cutter = new Cutter("auto", 100)
    assert.deepStrictEqual(cutter.push(bytes("1\n2")), [text(1, "1")])
    assert.isTrue(cutter.lines)
  })

  it("a byte order mark is no part of a message", () => {
    assert.deepStrictEqual(cut("whole", "\ufeff1"), [text(undefined, "1")])
  })

  it("keeps its own copy: the chunk may be used again", () => {
    const cutter = new Cutter("lines", 100)
    const chunk = bytes("12")
    cutter.push(chunk)
    chunk.fill(0x39)
    assert.deepStrictEqual(cutter.end(), [text(1, "12")])
  })

  it("nothing is no message", () => {
    for (const mode of ["auto", "lines", "whole"] as const) {
      assert.deepStrictEqual(cut(mode, ""), [])
      assert.deepStrictEqual(cut(mode, " \n\n "), [])
    }
  })
})
