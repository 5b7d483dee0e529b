/* Owns how a session has ended, and ending in the same way. */
#ifndef VMRM_CLIENT_ENDING_H
#define VMRM_CLIENT_ENDING_H

enum ending_kind { ENDING_NONE, ENDING_EXIT, ENDING_SIGNAL };

struct ending {
	enum ending_kind kind;
	int value; /* exit code or signal's number */
};

/* Ends this process so: by a signal without a core; 128 + number where the signal does not kill. */
_Noreturn void ending_follow(struct ending ending);

#endif
