/*
 * Owns the numbers of "Guest protocol 1": message types, streams, tags and bounds, as docs/internals/guest-channel.md fixes them.
 * Must never hold anything but constants; both ends of the channel compile it.
 */
#ifndef VMRM_MESSAGES_H
#define VMRM_MESSAGES_H

#define VMRM_PROTOCOL_VERSION 1u

enum vmrm_type {
	VMRM_HELLO = 1,
	VMRM_HELLO_ACK = 2,
	VMRM_PING = 3,
	VMRM_PONG = 4,
	VMRM_IDENTITY = 5,
	VMRM_IDENTITY_DONE = 6,
	VMRM_CLOCK = 7,
	VMRM_OPEN = 16,
	VMRM_OPENED = 17,
	VMRM_DATA = 18,
	VMRM_ACK = 19,
	VMRM_SIGNAL = 20,
	VMRM_EXIT = 21,
	VMRM_CLOSE = 22,
	VMRM_RESUME = 23,
	VMRM_ERROR = 24,
	VMRM_RESIZE = 25,
	VMRM_KILL = 26,
	/* From here on between vmrm-run and vmrmd only, never in a guest. */
	VMRM_ATTACH = 64,
	VMRM_ATTACHED = 65,
	VMRM_REFUSED = 66,
	VMRM_LOST = 67,
	VMRM_RESET = 68
};

enum vmrm_stream_number { VMRM_STDIN = 0, VMRM_STDOUT = 1, VMRM_STDERR = 2, VMRM_SPEC = 3, VMRM_STREAMS = 4 };

/* Flags of a frame. */
#define VMRM_FLAG_END 1u

/* Tags; each list belongs to the messages named in front of it. */
enum { VMRM_HELLO_NONCE = 1, VMRM_HELLO_VERSION = 2, VMRM_HELLO_BOOT_ID = 3, VMRM_HELLO_STATE = 4, VMRM_HELLO_SESSION = 5, VMRM_HELLO_AGENT = 6 };
enum {
	VMRM_IDENTITY_RUN = 1,
	VMRM_IDENTITY_HOSTNAME = 2,
	VMRM_IDENTITY_NIC = 3,
	VMRM_IDENTITY_GATEWAY = 4,
	VMRM_IDENTITY_HOST = 5,
	VMRM_IDENTITY_USER = 6,
	VMRM_IDENTITY_GROUP = 7,
	VMRM_IDENTITY_MOUNT = 8,
	VMRM_IDENTITY_TIME = 9,
	VMRM_IDENTITY_ENTROPY = 10,
	VMRM_IDENTITY_NODE = 11
};
enum { VMRM_DONE_ERROR = 1 };
enum { VMRM_CLOCK_TIME = 1 };
enum { VMRM_SIGNAL_NAME = 1, VMRM_SIGNAL_SCOPE = 2 };
enum { VMRM_EXIT_KIND = 1, VMRM_EXIT_VALUE = 2, VMRM_EXIT_SIGNAL = 3, VMRM_EXIT_CORE = 4 };
enum { VMRM_RESUME_RECEIVED = 1, VMRM_RESUME_LIMIT = 2 };
/* NUMBER (u32, exec-failed only) is the errno of the failed call in Linux' numbering, for the client's choice of exit code. */
enum { VMRM_ERROR_TEXT = 1, VMRM_ERROR_CODE = 2, VMRM_ERROR_NUMBER = 3 };
enum { VMRM_RESIZE_ROWS = 1, VMRM_RESIZE_COLUMNS = 2 };
enum {
	VMRM_SPEC_ARG = 1,
	VMRM_SPEC_ENV = 2,
	VMRM_SPEC_CWD = 3,
	VMRM_SPEC_UMASK = 4,
	VMRM_SPEC_SCRIPT_PATH = 5,
	VMRM_SPEC_SCRIPT_BYTES = 6,
	VMRM_SPEC_RLIMIT = 7,
	VMRM_SPEC_CPUS = 8,
	VMRM_SPEC_TERMINAL = 9,
	VMRM_SPEC_STDIN = 10
};
enum {
	VMRM_ATTACH_JOB = 1,
	VMRM_ATTACH_LOCAL_ID = 2,
	VMRM_ATTACH_LOCAL_COUNT = 3,
	VMRM_ATTACH_SESSION_RESUMED = 4,
	VMRM_ATTACH_STEP = 5,
	VMRM_ATTACH_VM = 6
};
enum { VMRM_ATTACHED_VM = 1, VMRM_ATTACHED_HOSTNAME = 2, VMRM_ATTACHED_CPUS = 3 };
enum { VMRM_REFUSED_TEXT = 1, VMRM_REFUSED_EXIT = 2 };
enum { VMRM_LOST_TEXT = 1 };

#endif
