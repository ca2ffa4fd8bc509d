import { assert, describe, it } from "@effect/vitest"
import { type Message, MessageParser, messagesOf } from "../../dashboard/wire/sse.ts"

const parsed = (...pieces: ReadonlyArray<string>): ReadonlyArray<Message> => {
  const parser = new MessageParser()
  return pieces.flatMap((piece) => parser.push(piece))
}

describe("server-sent events", () => {
  it("are whole wherever their text is cut", () => {
    const text =
      "\uFEFF: hello\n\nid: 7\nevent: part\ndata: {\"a\":1}\n\ndata:two\ndata:  lines\r\n\r\nevent: none\n\ndata\n\n"
    const whole = parsed(text)
    assert.deepStrictEqual(whole, [
      { event: "part", data: `{"a":1}`, id: "7" },
      { event: "message", data: "two\n lines", id: "7" },
      { event: "message", data: "", id: "7" }
    ])
    for (let at = 0; at <= text.length; at++) {
      assert.deepStrictEqual(parsed(text.slice(0, at), text.slice(at)), whole, `cut at ${at}`)
    }
    assert.deepStrictEqual(parsed(...text), whole)
  })

  it("end their lines with LF, CR or both, also between two pieces", () => {
    const two = [{ event: "message", data: "a", id: "" }, { event: "message", data: "b", id: "" }]
    assert.deepStrictEqual(parsed("data: a\r\rdata: b\r\r"), two)
    assert.deepStrictEqual(parsed("data: a\r", "\n\r", "\ndata: b\n\n"), two)
  })

  it("keep the id of the last message that had one, and none with a zero in it", () => {
    const parser = new MessageParser("from before")
    assert.strictEqual(parser.push("data: a\n\n")[0]!.id, "from before")
    assert.strictEqual(parser.push("id: x\n\ndata: b\n\n")[0]!.id, "x")
    assert.strictEqual(parser.push("id: y\0\ndata: c\n\n")[0]!.id, "x")
    assert.strictEqual(parser.lastId, "x")
  })

  it("that never end are refused instead of filling the memory", () => {
    const parser = new MessageParser()
    const piece = "x".repeat(1024 * 1024)
    assert.throws(() => {
      for (let n = 0; n < 10; n++) parser.push(piece)
    }, /longer than 8 MiB/)
    const lines = new MessageParser()
    assert.throws(() => {
      for (let n = 0; n < 10; n++) lines.push(`data: ${piece}\n`)
    }, /longer than 8 MiB/)
  })

  it("come out of an answer, and heartbeats are heard", async () => {
    const encoder = new TextEncoder()
    const penguin = encoder.encode("data: 🐧\n\n")
    const answer = new Response(
      new ReadableStream({
        start: (controller) => {
          controller.enqueue(encoder.encode(": \n\n"))
          // In the middle of a character.
          controller.enqueue(penguin.slice(0, 8))
          controller.enqueue(penguin.slice(8))
          controller.close()
        }
      })
    )
    let heard = 0
    const all: Array<Message> = []
    for await (const messages of messagesOf(answer, "", () => heard++)) all.push(...messages)
    assert.deepStrictEqual(all.map(({ data }) => data), ["🐧"])
    assert.isAtLeast(heard, 3)
  })
})
