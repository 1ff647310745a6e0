import { register } from 'tsx/esm/api'

// Workers run from the sources: the checker needs no build.
register()
await import('./worker.ts')
