// Where vmrm's own programs are on every host. vmrm.so must know these paths (hooks/paths.h), so they are no settings.

/** Runs one task in a VM. */
export const taskRunner = '/usr/lib/vmrm/vmrm-run'
/** The compiled multi-call binary. */
export const ownBinary = '/usr/lib/vmrm/vmrm'
