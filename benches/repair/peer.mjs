// Mends one JSON text a line given as [text, schema]; answers [mended or null, nanoseconds].
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const { jsonrepair } = createRequire(process.argv[2] + '/')('jsonrepair')

for await (const line of createInterface({ input: process.stdin })) {
  const [text] = JSON.parse(line)
  const begun = process.hrtime.bigint()
  let mended = null
  try {
    mended = jsonrepair(text)
  } catch {
    // Nothing came of it.
  }
  console.log(JSON.stringify([mended, Number(process.hrtime.bigint() - begun)]))
}
