/** Findings as text, as JSON and as SARIF. */
import { type Finding, type Rule, rules } from "./finding.ts"

/** For people: a line that editors can jump to, then how to mend it. */
export const toText = (findings: ReadonlyArray<Finding>, files: number): string => {
  const lines = findings.flatMap(({ column, docs, file, fix, line, message, rule, severity }) => [
    `${file}:${line}:${column} ${severity} ${rule}`,
    `  ${message}`,
    `  → ${fix} (${docs})`
  ])
  const errors = findings.filter((finding) => finding.severity === "error").length
  const warnings = findings.length - errors
  const count = (n: number, what: string) => `${n} ${what}${n === 1 ? "" : "s"}`
  return [...lines, `${count(files, "file")} checked: ${count(errors, "error")}, ${count(warnings, "warning")}.`].join(
    "\n"
  )
}

/** For programs: an array. */
export const toJson = (findings: ReadonlyArray<Finding>): string => JSON.stringify(findings, null, 2)

/** For code scanning: SARIF 2.1.0. `docsOf` says where a rule is explained. */
export const toSarif = (
  findings: ReadonlyArray<Finding>,
  version: string,
  docsOf: (rule: string) => string
): string => {
  const all: ReadonlyArray<Rule> = Object.entries(rules).map(([id, rule]) => ({ id, ...rule }))
  return JSON.stringify(
    {
      $schema: "https://json.schemastore.org/sarif-2.1.0.json",
      version: "2.1.0",
      runs: [{
        tool: {
          driver: {
            name: "penguiflow",
            version,
            rules: all.map(({ id, severity, title }) => ({
              id,
              shortDescription: { text: title },
              help: { text: `See ${docsOf(id)}` },
              defaultConfiguration: { level: severity }
            }))
          }
        },
        results: findings.map(({ column, file, fix, line, message, rule, severity }) => ({
          ruleId: rule,
          ruleIndex: all.findIndex(({ id }) => id === rule),
          level: severity,
          message: { text: `${message}. ${fix}.` },
          locations: [{
            physicalLocation: {
              artifactLocation: { uri: encodeURI(file.replaceAll("\\", "/")) },
              region: { startLine: line, startColumn: column }
            }
          }]
        }))
      }]
    },
    null,
    2
  )
}
