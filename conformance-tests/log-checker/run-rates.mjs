import { register } from 'tsx/esm/api'

register()
const { measureAsChild } = await import('./rates.ts')
await measureAsChild(process.argv[2], process.argv[3], Number(process.argv[4]))
