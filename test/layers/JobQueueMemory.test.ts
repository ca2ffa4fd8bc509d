import * as JobQueueMemory from "penguiflow/layers/JobQueueMemory"
import { jobQueueSuite } from "./JobQueueSuite.ts"

jobQueueSuite("in memory", JobQueueMemory.layer)
