import type { IncomingMessage } from 'node:http'
import { BlockList, isIPv6 } from 'node:net'

/** Tells whether an address is in one of these networks (CIDR form); remembers nothing about who asks. */
export function proxiesOf(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', bits = ''] = network.split('/')
    list.addSubnet(address, Number(bits), isIPv6(address) ? 'ipv6' : 'ipv4')
  }
  return (address) => {
    // IPv4 arrives mapped into IPv6 on a listener that takes both.
    const plain = address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address
    return plain !== '' && list.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4')
  }
}

/** Where a request comes from; undefined when a trusted proxy brought it and does not say from whom. */
export function senderAddress(
  req: IncomingMessage,
  isTrustedProxy: (address: string) => boolean,
): string | undefined {
  const peer = req.socket.remoteAddress ?? ''
  if (!isTrustedProxy(peer)) return peer
  const forwarded = req.headers['x-forwarded-for']
  const last = typeof forwarded === 'string' ? forwarded.split(',').at(-1)?.trim() : undefined
  return last === '' ? undefined : last
}
