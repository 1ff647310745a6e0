#!/usr/bin/env node
/**
 * Measures homeservers side by side: `npm run bench -- --servers folkmoot,synapse`. See docs/benchmarks.md and --help.
 */
import { register } from 'tsx/esm/api'

register()
const { main } = await import('./main.ts')
await main(process.argv.slice(2))
