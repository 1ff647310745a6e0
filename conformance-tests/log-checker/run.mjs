import { register } from 'tsx/esm/api'

// Runs from the sources: the checker needs no build.
register()
await import('./cli.ts')
