/** Server-sent events out of the pieces of an answer, as they come: by `fetch`, since `EventSource` can't send a token. */

export interface Message {
  readonly event: string
  readonly data: string
  /** The last id that was said, by this message or an earlier one. */
  readonly id: string
}

/** One message is not longer than this: a stream that is something else must not fill the memory. */
const longest = 8 * 1024 * 1024

/** Takes text in pieces cut anywhere, and gives the messages that are whole. */
export class MessageParser {
  #rest = ""
  #event = ""
  #data: Array<string> = []
  #size = 0
  #id: string
  #begun = false
  /** A piece ended in CR: an LF at the beginning of the next one belongs to it. */
  #afterCr = false

  constructor(lastId: string = "") {
    this.#id = lastId
  }

  get lastId(): string {
    return this.#id
  }

  push(piece: string): ReadonlyArray<Message> {
    if (piece === "") return []
    let text = piece
    if (!this.#begun) {
      this.#begun = true
      if (text.startsWith("\uFEFF")) text = text.slice(1)
    }
    if (this.#afterCr && text.startsWith("\n")) text = text.slice(1)
    this.#afterCr = text.endsWith("\r")
    const lines = (this.#rest + text).split(/\r\n|\r|\n/)
    this.#rest = lines.pop() ?? ""
    if (this.#rest.length + this.#size > longest) throw new Error("A message of the server is longer than 8 MiB")
    const messages: Array<Message> = []
    for (const line of lines) {
      if (line !== "") this.#field(line)
      else if (this.#data.length > 0) messages.push(this.#message())
      else this.#event = ""
    }
    return messages
  }

  #message(): Message {
    const message = { event: this.#event === "" ? "message" : this.#event, data: this.#data.join("\n"), id: this.#id }
    this.#event = ""
    this.#data = []
    this.#size = 0
    return message
  }

  #field(line: string): void {
    const colon = line.indexOf(":")
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1)
    if (name === "data") {
      this.#data.push(value)
      this.#size += value.length
    } else if (name === "event") this.#event = value
    else if (name === "id" && !value.includes("\0")) this.#id = value
  }
}

/** The messages of an answer; ends with it. `heard` is called whenever anything came, heartbeats included. */
export const messagesOf = async function*(
  answer: Response,
  lastId: string = "",
  heard: () => void = () => {}
): AsyncGenerator<ReadonlyArray<Message>> {
  if (answer.body === null) return
  const parser = new MessageParser(lastId)
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (done) return
      heard()
      const messages = parser.push(value)
      if (messages.length > 0) yield messages
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
