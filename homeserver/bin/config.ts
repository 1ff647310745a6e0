import process from 'node:process'
import { ConfigError, loadConfig } from '../config.ts'

/** Prints every setting with its value, where that came from, what is allowed, and what it is for. */
try {
  for (const { name, value, origin, allowed, sentence } of loadConfig(process.env).report) {
    const shown = typeof value === 'string' ? value || "''" : JSON.stringify(value)
    console.log(`${name}: ${shown}\n    # ${sentence}\n    # from: ${origin}; allowed: ${allowed}`)
  }
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
