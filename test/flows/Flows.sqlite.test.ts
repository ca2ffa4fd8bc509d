/** The ready-made flows on SQLite. */
import * as Sqlite from "penguiflow/layers/Sqlite"
import { flowsSuite } from "./FlowsSuite.ts"

flowsSuite("SQLite", Sqlite.layer({ filename: ":memory:" }), { live: false })
