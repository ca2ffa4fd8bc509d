/** Processes that measure, or work: each is a file of this folder, answers its parent by IPC, and ends with it. */
import { Effect } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { join } from "node:path"

/** Starts one. What it prints goes to stderr. */
export const start = (file: string, args: ReadonlyArray<string>): ChildProcess =>
  fork(join(import.meta.dirname, file), args, { stdio: ["ignore", 2, 2, "ipc"], serialization: "advanced" })

/** Starts one, and waits for its one answer. */
export const answerOf = <A>(file: string, args: ReadonlyArray<string>): Effect.Effect<A> =>
  Effect.callback<A>((resume) => {
    const child = start(file, args)
    child.once("message", (answer: A) => resume(Effect.succeed(answer)))
    child.once("exit", (code) => resume(Effect.die(new Error(`${file} ${args.join(" ")} has ended with ${code}`))))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** In such a process: to its parent. */
export const tell = (message: object): Promise<void> =>
  new Promise((resolve) => {
    process.send?.(message, () => resolve())
  })

/** In such a process: a parent that is gone, killed as well as done, leaves nobody behind. */
export const endWithParent = (): void => {
  process.once("disconnect", () => process.exit(0))
}
