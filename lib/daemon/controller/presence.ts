// Which nodes' daemons hold a connection to the controller. It owns no decision: it tells when a node has been away for too long.

export interface Presence {
  /** A connection of this node's daemon was let in, or has ended. */
  connected(node: string): void
  gone(node: string): void
  /** The node should be there: from now on it is as if a connection of it had ended. */
  expect(node: string): void
  isConnected(node: string): boolean
  /** It was away for too long, did not answer, and has not come back. */
  isLost(node: string): boolean
  close(): void
}

/**
 * `onLost` is called when a node has had no connection for `graceMs` and does not answer when it is asked: a connection may
 * also end for a fault of the network, and a node that has nothing to say makes no new one.
 */
export function createPresence(options: {
  graceMs: number
  answers: (node: string) => Promise<boolean>
  onLost: (node: string) => void
}): Presence {
  const connections = new Map<string, number>()
  const leaving = new Map<string, NodeJS.Timeout>()
  const lost = new Set<string>()

  const watch = (node: string) => {
    const timer = setTimeout(() => void look(node, timer), options.graceMs)
    timer.unref()
    leaving.set(node, timer)
  }
  const look = async (node: string, timer: NodeJS.Timeout) => {
    const isThere = await options.answers(node)
    // Connected meanwhile, or the daemon ends.
    if (leaving.get(node) !== timer) return
    leaving.delete(node)
    if (isThere) return watch(node)
    lost.add(node)
    options.onLost(node)
  }
  return {
    connected(node) {
      connections.set(node, (connections.get(node) ?? 0) + 1)
      clearTimeout(leaving.get(node))
      leaving.delete(node)
      lost.delete(node)
    },
    isConnected: (node) => connections.has(node),
    isLost: (node) => lost.has(node),
    expect(node) {
      if (!connections.has(node) && !leaving.has(node)) watch(node)
    },
    gone(node) {
      const left = (connections.get(node) ?? 1) - 1
      if (left > 0) connections.set(node, left)
      else {
        connections.delete(node)
        watch(node)
      }
    },
    close() {
      for (const timer of leaving.values()) clearTimeout(timer)
      leaving.clear()
    },
  }
}
