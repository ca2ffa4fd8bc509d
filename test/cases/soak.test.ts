/** What load leaves behind, each in a process of its own whose heap nobody else uses. */
import { assert, describe, it } from "@effect/vitest"
import { child } from "./kit.ts"

interface Report {
  readonly scenario: string
  readonly count: number
  readonly bytes: number
  readonly limit: number
  readonly faults: ReadonlyArray<string>
}

/** Runs one scenario and holds it to its limits. */
const leavesNothing = async (scenario: string, count: number) => {
  const { code, out } = await child(["tools/soak.ts", scenario], 25_000)
  assert.notStrictEqual(code, null, `killed after 25 s: ${out}`)
  const line = out.split("\n").find((text) => text.startsWith("{"))
  assert.isDefined(line, out)
  const report = JSON.parse(line!) as Report
  assert.deepStrictEqual(report.faults, [], line)
  assert.strictEqual(report.scenario, scenario)
  assert.isAtLeast(report.count, count)
  assert.isAtMost(report.bytes, report.limit)
  assert.strictEqual(code, 0)
}

describe("load", () => {
  it("60g: 240 000 traces, of which 10 % fail and 5 % are cancelled, leave no entry, and under 20 bytes each", () =>
    leavesNothing("mixed", 240_000))
  it("60i: 15 000 flows, built, run once and dropped, leave nothing", () => leavesNothing("flows", 15_000))
  it("60i: 10 200 watched runtimes, made, used and closed, leave nothing", () => leavesNothing("runtimes", 10_200))
  it("60h: 240 000 deadlines and timeouts, set and cleared, leave nothing", () => leavesNothing("timers", 240_000))
  it("60d: 120 000 traces that end at half a join leave nothing", () => leavesNothing("halves", 120_000))
  it("60 000 messages of which each sends the next leave nothing", () => leavesNothing("relay", 60_000))
  it("30 000 messages, each sent by a fiber that has left the trace before it, leave nothing", () =>
    leavesNothing("relayDetached", 30_000))
})
