/** A network of two machines on one: a server runs in a namespace of its own, and the packets between may be dropped. */
import { Effect, type Scope } from "effect"
import { execFileSync } from "node:child_process"

const ip = (...args: ReadonlyArray<string>): string => execFileSync("ip", args, { encoding: "utf8", stdio: "pipe" })

export interface Network {
  /** Where a server in it is reached from here. */
  readonly host: string
  /** A command line's beginning: what follows runs in there, as that user. */
  readonly enter: (user: { readonly uid: number; readonly gid: number } | undefined) => ReadonlyArray<string>
  /** Packets are lost in both directions, and nobody is told. */
  readonly drop: Effect.Effect<void>
  readonly pass: Effect.Effect<void>
}

let networks = 0

const open = () => {
  const n = `${process.pid % 100_000}${networks++ % 10}`
  const [name, here, there] = [`penguiflow-${n}`, `pfh${n}`, `pft${n}`]
  const block = networks % 60 * 4
  const address = (i: number) => `10.213.${process.pid % 250}.${block + i}`
  ip("netns", "add", name)
  try {
    ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
    ip("address", "add", `${address(1)}/30`, "dev", here)
    ip("-n", name, "address", "add", `${address(2)}/30`, "dev", there)
    ip("link", "set", here, "up")
    ip("-n", name, "link", "set", there, "up")
    ip("-n", name, "link", "set", "lo", "up")
    // Known for good: else the addresses would be asked for anew, and whoever gets no answer is told.
    const mac = (text: string) => /link\/ether (\S+)/.exec(text)?.[1] ?? ""
    const [ofHere, ofThere] = [mac(ip("link", "show", here)), mac(ip("-n", name, "link", "show", there))]
    ip("neighbour", "replace", address(2), "lladdr", ofThere, "dev", here, "nud", "permanent")
    ip("-n", name, "neighbour", "replace", address(1), "lladdr", ofHere, "dev", there, "nud", "permanent")
  } catch (error) {
    ip("netns", "delete", name)
    throw error
  }
  return { name, client: address(1), host: address(2) }
}

/** False where this machine allows no namespaces: then its tests are skipped. */
export const available: boolean = (() => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false
  try {
    ip("netns", "delete", open().name)
    return true
  } catch {
    return false
  }
})()

export const make: Effect.Effect<Network, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(Effect.sync(open), ({ name }) => Effect.sync(() => ip("netns", "delete", name))),
  ({ client, host, name }) => ({
    host,
    enter: (user) => [
      ..."ip netns exec".split(" "),
      name,
      ...(user === undefined
        ? []
        : ["setpriv", "--reuid", String(user.uid), "--regid", String(user.gid), "--clear-groups"])
    ],
    // What goes there is swallowed; what comes from there has no way back, and is taken for a forgery.
    drop: Effect.sync(() => void ip("-n", name, "route", "add", "blackhole", `${client}/32`)),
    pass: Effect.sync(() => void ip("-n", name, "route", "delete", "blackhole", `${client}/32`))
  })
)
