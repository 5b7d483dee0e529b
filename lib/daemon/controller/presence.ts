// Which nodes' daemons hold a connection to the controller. It owns no decision: it tells when a node has been away for too long.

export interface Presence {
  /** A connection of this node's daemon was let in, or has ended. */
  connected(node: string): void
  gone(node: string): void
  close(): void
}

/** `onLost` is called once for each time that a node had no connection for `graceMs`: its daemon ended and did not come back. */
export function createPresence(options: { graceMs: number; onLost: (node: string) => void }): Presence {
  const connections = new Map<string, number>()
  const leaving = new Map<string, NodeJS.Timeout>()
  return {
    connected(node) {
      connections.set(node, (connections.get(node) ?? 0) + 1)
      clearTimeout(leaving.get(node))
      leaving.delete(node)
    },
    gone(node) {
      const left = (connections.get(node) ?? 1) - 1
      if (left > 0) {
        connections.set(node, left)
        return
      }
      connections.delete(node)
      const timer = setTimeout(() => {
        leaving.delete(node)
        options.onLost(node)
      }, options.graceMs)
      timer.unref()
      leaving.set(node, timer)
    },
    close() {
      for (const timer of leaving.values()) clearTimeout(timer)
      leaving.clear()
    },
  }
}
