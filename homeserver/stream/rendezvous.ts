/**
 * Rendezvous hashing: every process computes the same owner of a key from the same list, and when a process comes or
 * goes only its own keys move.
 */
export function ownerAmong<P extends { readonly id: string }>(
  processes: readonly P[],
  key: string,
): P | undefined {
  const [only] = processes
  if (processes.length <= 1) return only
  let owner: P | undefined
  let best = -1
  for (const process of processes) {
    const weight = hash(`${process.id}\0${key}`)
    if (weight > best || (weight === best && owner !== undefined && process.id < owner.id)) {
      best = weight
      owner = process
    }
  }
  return owner
}

/** FNV-1a over UTF-16 units, then murmur3's finaliser, without which similar keys get similar weights; 32 bits. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let at = 0; at < text.length; at++) h = Math.imul(h ^ text.charCodeAt(at), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
