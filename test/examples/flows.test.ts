/** The examples of the ready-made flows, each run as its reader would run it: a process of its own, without a network. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"

const folder = path.resolve(import.meta.dirname, "../../examples")

const run = (name: string) =>
  Effect.promise(async () => {
    const child = spawn(process.execPath, ["--conditions=source", "--no-warnings", path.join(folder, name)], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] }
    })
    let [out, err] = ["", ""]
    child.stdout.on("data", (chunk) => out += chunk)
    child.stderr.on("data", (chunk) => err += chunk)
    const [code] = await once(child, "close")
    assert.strictEqual(code, 0, err)
    assert.strictEqual(err, "")
    return out.trimEnd().split("\n")
  })

const expected: Readonly<Record<string, ReadonlyArray<string>>> = {
  "20_enrichment.ts": [
    "\"what do they eat?\" by one who keeps penguins: 64 numbers",
    "UnknownUser: there is no user 8: create one, or ask for another",
    "TooLong: the text has 51 characters and may have 40: shorten it, or raise MAX_INPUT_LENGTH"
  ],
  "21_item_enhancement.ts": [
    "A bird, black and white, good swimmer.",
    "UnknownItem: there is no item 4: create it, or ask for another"
  ],
  "22_cost_tracking.ts": [
    "user-123 used 12 tokens by 1 answer",
    "user-456 used 30 tokens by 2 answers"
  ],
  "23_topic_staging.ts": ["acme: one topic, 2 dimensions", "umbrella: one topic, 2 dimensions"],
  "24_topic_creation.ts": [
    ...["TraceStarted", "NodeStarted create 1", "NodeSucceeded create 1", "NodeStarted enhance 1"].map((it) =>
      `good ${it}`
    ),
    "good NodeSucceeded enhance 1",
    "good TraceSucceeded",
    "topics: 1",
    ...["TraceStarted", "NodeStarted create 1", "NodeSucceeded create 1"].map((it) => `bad ${it}`),
    ...[1, 2, 3].flatMap((n) => ["NodeStarted", "NodeErrored", "NodeRetried"].map((it) => `bad ${it} enhance ${n}`)),
    ...["NodeStarted enhance 4", "NodeErrored enhance 4", "NodeFailed enhance 4"].map((it) => `bad ${it}`),
    "cleaned up outside of the database for bad",
    "bad NodeCompensated create 1",
    "bad TraceFailed enhance 4",
    "DimensionsRejected: the rules did not accept topic 2 with 1 dimension, and none was kept: ask with others",
    "topics: 1"
  ],
  "25_embedding.ts": [
    "\"which birds swim well\" is near",
    "\"the price of coffee\" is far",
    "in tests: 1536 numbers"
  ]
}

describe("the examples of the ready-made flows", () => {
  it("are all here", () => {
    assert.deepStrictEqual(
      fs.readdirSync(folder).filter((name) => /^2\d_.*\.ts$/.test(name)).toSorted(),
      Object.keys(expected).toSorted()
    )
  })

  for (const [name, lines] of Object.entries(expected)) {
    it.live(`${name} runs and prints what it promises`, () =>
      Effect.gen(function*() {
        // Events are told beside what happens, so the two streams of lines may be woven together in more than one way.
        assert.deepStrictEqual((yield* run(name)).toSorted(), lines.toSorted())
      }))
  }
})
