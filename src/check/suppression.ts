/**
 * Comments that say that a finding is meant: `// penguiflow-ignore rule-id: the reason`, on the line of the finding or on
 * the line before. Without a reason, or with a rule that there is not, the comment is a finding itself.
 */
import { type Found, isRule } from "./finding.ts"
import type { Comment } from "./syntax.ts"

interface Suppression {
  readonly rules: ReadonlyArray<string>
  /** Its own line, and the next one that is not a comment. */
  readonly lines: ReadonlyArray<number>
  readonly at: number
  used: boolean
}

const pattern = /^[\s*]*penguiflow-ignore(?:\s+([\w-]+(?:\s*,\s*[\w-]+)*))?\s*(?:(?::|--|—)\s*(\S[\s\S]*?))?\s*$/

export interface Suppressing {
  /** What is left, and what is wrong with the suppressions. */
  readonly apply: (found: ReadonlyArray<Found>) => ReadonlyArray<Found>
}

export const suppressionsIn = (
  text: string,
  comments: ReadonlyArray<Comment>,
  lineAt: (offset: number) => number
): Suppressing => {
  const wrong: Array<Found> = []
  const suppressions: Array<Suppression> = []
  const lines = text.split("\n")
  for (const comment of comments) {
    if (!/^[\s*]*penguiflow-ignore\b/.test(comment.value)) continue
    const match = pattern.exec(comment.value)
    const ids = (match?.[1] ?? "").split(",").map((id) => id.trim()).filter((id) => id !== "")
    const unknown = ids.filter((id) => !isRule(id))
    const complain = (message: string) =>
      wrong.push({
        rule: "suppression",
        at: comment.start,
        message,
        fix: "Write `// penguiflow-ignore rule-id: why this is meant`"
      })
    if (ids.length === 0) complain("This suppression names no rule")
    else if (unknown.length > 0) complain(`There is no rule "${unknown[0]}"`)
    else if ((match?.[2] ?? "").length < 3) complain(`The suppression of "${ids[0]}" gives no reason`)
    else {
      const own = lineAt(comment.start)
      let next = lineAt(comment.end) + 1
      while (next <= lines.length && /^\s*(?:\/\/|\/?\*|$)/.test(lines[next - 1]!)) next++
      suppressions.push({ rules: ids, lines: [own, next], at: comment.start, used: false })
    }
  }
  return {
    apply: (found) => {
      const left = found.filter(({ at, rule }) => {
        const line = lineAt(at)
        const by = suppressions.filter((it) => it.rules.includes(rule) && it.lines.includes(line))
        for (const it of by) it.used = true
        return by.length === 0
      })
      const unused = suppressions.filter((it) => !it.used).map((it): Found => ({
        rule: "unused-suppression",
        at: it.at,
        message: `There is nothing of "${it.rules.join(", ")}" here to suppress`,
        fix: "Take the comment away"
      }))
      return [...left, ...wrong, ...unused]
    }
  }
}
