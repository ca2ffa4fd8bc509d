import type { Report } from "./report.ts"
export const htmlOf = (report: Report): string => JSON.stringify(report)
