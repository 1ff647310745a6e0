/** What a run of the suite is about, from the environment that bin/conformance.mjs sets. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

const here = import.meta.dirname

/** Launchers that this checkout brings. */
export const launchers = {
  folkmoot: resolve(here, '../launcher'),
  synapse: resolve(here, '../launchers/synapse'),
}

/** The launcher under test. */
export const launcherUnderTest = resolve(process.env['CONFORMANCE_LAUNCHER'] ?? launchers.folkmoot)

/** The launcher of the second server in the area of two servers. */
export const secondLauncher = resolve(process.env['CONFORMANCE_SECOND'] ?? launcherUnderTest)

/** A running server to test instead of a launched one: client URL and server name. */
export const urlUnderTest = process.env['CONFORMANCE_URL']
export const nameUnderTest = process.env['CONFORMANCE_SERVER_NAME']
export const secretUnderTest = process.env['CONFORMANCE_SHARED_SECRET']

/** Is the server under test Synapse: only for the named exceptions. */
export const underTestIsSynapse =
  launcherUnderTest === launchers.synapse || process.env['CONFORMANCE_EXCEPTIONS'] === 'synapse'

/** The Python that has Synapse, if this machine has one. */
export function pythonOfSynapse(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache')
  return process.env['SYNAPSE_PYTHON'] ?? join(cache, 'folkmoot/synapse-venv/bin/python')
}

/** Can this machine start Synapse. */
export function hasSynapse(): boolean {
  return existsSync(pythonOfSynapse())
}
