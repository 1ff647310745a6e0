/** Third-party networks, as the application services that speak for them describe them. */
import { arrayAt, isObject, type Json, type JsonObject } from '../../spec/json.ts'
import type { Appservices } from './appservices.ts'
import type { Asking } from './asking.ts'

export type Fields = Readonly<Record<string, string>>

export interface ThirdPartyNetworks {
  /** Every protocol that somebody speaks for and describes. */
  protocols(): Promise<Readonly<Record<string, JsonObject>>>
  /** Undefined when nobody describes it. */
  protocol(name: string): Promise<JsonObject | undefined>
  /** Locations or users of a network that have these fields. */
  find(what: 'location' | 'user', protocol: string, fields: Fields): Promise<readonly JsonObject[]>
  /** What an alias (`alias`) or a user id (`userid`) stands for in other networks. */
  meaning(what: 'location' | 'user', fields: Fields): Promise<readonly JsonObject[]>
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#third-party-networks} */
export function createThirdPartyNetworks({
  appservices,
  asking,
}: {
  readonly appservices: Pick<Appservices, 'all'>
  readonly asking: Pick<Asking, 'thirdParty'>
}): ThirdPartyNetworks {
  async function protocol(name: string): Promise<JsonObject | undefined> {
    const answers = await asking.thirdParty(['protocol', name], {}, name)
    const [first, ...others] = answers.filter(isObject)
    if (first === undefined) return undefined
    // Several services may each speak for a part of a network.
    const instances = [first, ...others].flatMap((one) => arrayAt(one, 'instances') ?? [])
    return { ...first, instances }
  }

  return {
    protocol,
    async protocols() {
      const names = [...new Set(appservices.all.flatMap(({ protocols }) => protocols))]
      const found = await Promise.all(
        names.map(async (name) => [name, await protocol(name)] as const),
      )
      const described: Record<string, JsonObject> = {}
      for (const [name, about] of found) if (about !== undefined) described[name] = about
      return described
    },
    find: async (what, name, fields) => listed(await asking.thirdParty([what, name], fields, name)),
    meaning: async (what, fields) => listed(await asking.thirdParty([what], fields)),
  }
}

function listed(answers: readonly Json[]): readonly JsonObject[] {
  return answers.flatMap((answer) => (Array.isArray(answer) ? answer.filter(isObject) : []))
}
