/** Loaded before a worker's program: this process's clock goes wrong by so many minutes, and jumps as far the other way. */
const wrong = Number(process.env["CLOCK_MINUTES"]) * 60_000
const after = Number(process.env["CLOCK_AFTER"])
const right = Date.now
const from = right()
const now = () => right() + (right() - from < after ? wrong : -wrong)

globalThis.Date = new Proxy(Date, {
  apply: () => new Date(now()).toString(),
  construct: (target, args, self) => Reflect.construct(target, args.length === 0 ? [now()] : args, self)
})
Date.now = now
