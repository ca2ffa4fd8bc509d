import { assert, describe, it } from "@effect/vitest"
import type { Said } from "../../dashboard/model/live.ts"
import { ApiError } from "../../dashboard/wire/api.ts"
import { type Connection, startFeed } from "../../dashboard/wire/feed.ts"

/** A server that answers one request after the other, as it is told. */
const serverOf = (...answers: ReadonlyArray<(signal: AbortSignal) => Promise<Response>>) => {
  const asked: Array<string> = []
  const said: Array<Said> = []
  const states: Array<Connection["_tag"]> = []
  let changed = () => {}
  const feed = startFeed(
    {
      events: (lastId, signal) => {
        const answer = answers[asked.length]
        asked.push(lastId)
        changed()
        return answer === undefined ? new Promise(() => {}) : answer(signal)
      }
    },
    (what) => {
      said.push(...what)
      changed()
    },
    ({ _tag }) => {
      if (states.at(-1) !== _tag) states.push(_tag)
      changed()
    }
  )
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise<void>((resolve) => changed = resolve)
  }
  return { asked, feed, said, states, until }
}

const message = (id: number, event: string, data: unknown) =>
  `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`

/** Sends these texts, then ends, breaks off, or stays open. */
const sends = (then: "end" | "break" | "stay", ...texts: ReadonlyArray<string>) => (signal: AbortSignal) =>
  Promise.resolve(
    new Response(
      new ReadableStream({
        start: (controller) => {
          for (const text of texts) controller.enqueue(new TextEncoder().encode(text))
          if (then === "end") controller.close()
          else signal.addEventListener("abort", () => controller.error(signal.reason))
        },
        pull: (controller) => {
          if (then === "break") controller.error(new TypeError("network error"))
        }
      })
    )
  )
const refuses = (status: number) => () => Promise.reject(new ApiError(status, { error: "no", code: "NO" }))

describe("the stream of events", () => {
  it("is taken up again after what was heard last, whether it ended or broke off", async () => {
    const { asked, feed, said, states, until } = serverOf(
      sends(
        "end",
        message(1, "lost", { count: 1 }).replace("lost", "of a newer server"),
        message(2, "event", { _tag: "NodeStarted" })
      ),
      sends("break", message(3, "event", { _tag: "NodeStarted" })),
      sends("stay", ": \n\n")
    )
    await until(() => asked.length === 3 && states.at(-1) === "Live")
    assert.deepStrictEqual(asked, ["", "2", "3"])
    assert.strictEqual(said.length, 2)
    feed.stop()
  })

  it("waits longer each time that there is no answer, says when it tries again, and tries at once when told to", async () => {
    const { asked, feed, states, until } = serverOf(
      refuses(0),
      refuses(503),
      sends("stay", ": \n\n")
    )
    await until(() => states.includes("Waiting"))
    assert.strictEqual(asked.length, 2)
    const begin = Date.now()
    feed.wake()
    await until(() => states.at(-1) === "Live")
    assert.isBelow(Date.now() - begin, 400)
    feed.stop()
  })

  it("waits for a token, and for nothing else, where it is refused without one", async () => {
    const { asked, feed, states, until } = serverOf(refuses(401), refuses(401), sends("stay", ": \n\n"))
    await until(() => states.includes("Locked"))
    await new Promise((resolve) => setTimeout(resolve, 700))
    assert.strictEqual(asked.length, 1)
    feed.wake()
    await until(() => asked.length === 2)
    // Even where it is called while the answer is still on its way.
    feed.wake()
    await until(() => states.at(-1) === "Live")
    assert.strictEqual(asked.length, 3)
    feed.stop()
  })

  it("begins anew with a snapshot after events were lost", async () => {
    const { asked, feed, said, until } = serverOf(
      sends("stay", message(7, "lost", { count: 40 })),
      sends("stay", message(9, "snapshot", { at: 0, flows: {}, recent: [] }))
    )
    await until(() => said.some(({ _tag }) => _tag === "Snapshot"))
    assert.deepStrictEqual(asked, ["", ""])
    assert.deepInclude(said[0]!, { _tag: "Lost", count: 40 })
    feed.stop()
  })
})
