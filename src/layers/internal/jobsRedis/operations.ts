/** What a job queue asks of Redis: a script for each operation, so that it is atomic, and takes time from the server. */
import { claim } from "./claiming.ts"
import { common } from "./common.ts"
import { enqueue } from "./enqueueing.ts"
import { disown, renew, start } from "./leasing.ts"
import { right } from "./righting.ts"
import { settle } from "./settling.ts"
import { sweep } from "./sweeping.ts"
import { cancel, counts, ended, list, purge, requeue } from "./tending.ts"

export type Operation =
  | "enqueue"
  | "claim"
  | "start"
  | "renew"
  | "settle"
  | "disown"
  | "sweep"
  | "right"
  | "list"
  | "ended"
  | "cancel"
  | "requeue"
  | "purge"
  | "counts"

const operations: { readonly [_ in Operation]: string } = {
  enqueue,
  claim,
  start,
  renew,
  settle,
  disown,
  sweep,
  right,
  list,
  ended,
  cancel,
  requeue,
  purge,
  counts
}

/** Takes the queue's prefix as its key and the arguments as JSON, and answers with JSON. */
export const scriptOf = (operation: Operation): string =>
  `${common}local function run()${operations[operation]}end\nreturn cjson.encode(run())`
