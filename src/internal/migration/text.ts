import type { Report } from "./report.ts"
export const textOf = (report: Report): string => JSON.stringify(report)
