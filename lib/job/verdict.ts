// What became of a run, as the controller's daemon tells the nodes'.

/** `pending`: nothing is decided. `ended`: nothing of it is wanted any more. */
export type Verdict = 'pending' | 'commit' | 'abort' | 'lost' | 'ended'
