/**
 * Where a known server breaks the specification. Such a test is expected to fail on that server and is listed with the
 * sentence that is broken; when the server is repaired, the test reports it.
 */
import { it } from 'vitest'
import { underTestIsSynapse } from './settings.ts'

/** `it` that Synapse is known to fail, with the sentence of the specification that it breaks. */
export function itSynapseBreaks(sentence: string): typeof it | typeof it.fails {
  if (!underTestIsSynapse) return it
  process.stderr.write(`named exception: Synapse breaks “${sentence}”\n`)
  return it.fails
}
