/* Owns what is known of the options of Slurm's commands. Must never judge a value. */
#include "grammar.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* srun, sbatch and salloc read one table of options; those that only one of them has are in it too. `wait` is the one that they read differently. */
#define JOB_VALUED \
	" accel-bind account acctg-freq argv array autocomplete batch bb bbf bcast-exclude begin chdir cluster cluster-constraint " \
	"clusters comment constraint container container-id context core-spec cores-per-socket cpu-bind cpu-freq cpu_bind " \
	"cpus-per-gpu cpus-per-task deadline delay-boot dependency distribution environment epilog error exclude export " \
	"export-file extra extra-node-info gid gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags " \
	"het-group hint ignore-signals input job-name jobid kill-on-invalid-dep licenses mail-type mail-user mcs-label mem " \
	"mem-bind mem-per-cpu mem-per-gpu mem-update mincpus mpi msg-timeout network nodefile nodelist nodes ntasks " \
	"ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket ntasks-per-tres open-mode output pack-group partition " \
	"power prefer priority profile prolog qos relative reservation resources runtime segment signal slurmd-debug " \
	"sockets-per-node switches task-epilog task-prolog tasks-per-node thread-spec threads threads-per-core time time-min tmp " \
	"treewidth tres-bind tres-per-task uid vm-image vm-per-node vm-script vm-strategy wait-all-nodes wckey wrap "
#define JOB_OTHERS \
	" async bcast bell compress consolidate-segments contiguous debugger-test disable-status exact exclusive external " \
	"external-launcher get-user-env help hold ignore-pbs immediate interactive kill-command kill-on-bad-exit label multi-prog " \
	"nice no-allocate no-bell no-kill no-requeue no-shell oom-kill-step overcommit overlap oversubscribe parsable " \
	"preserve-env propagate pty quiet quit-on-interrupt reboot requeue resv-ports send-libs spread-job spread-segments " \
	"stepmgr test-only unbuffered usage use-min-nodes verbose version vm-checkpoint wait-for-children whole x11 "
#define JOB_LETTERS \
	" Aaccount aarray bbegin Dchdir Mclusters Cconstraint Score-spec ccpus-per-task ddependency mdistribution eerror xexclude " \
	"Bextra-node-info Ggpus iinput Jjob-name Llicenses Fnodefile wnodelist Nnodes nntasks ooutput ppartition qqos rrelative " \
	"Tthreads ttime "

static const struct grammar grammars[] = {
	{"srun", JOB_VALUED "wait ", JOB_OTHERS, JOB_LETTERS "Wwait ", "IKk", false},
	{"sbatch", JOB_VALUED, JOB_OTHERS "wait ", JOB_LETTERS, "IKk", false},
	{"salloc", JOB_VALUED "wait ", JOB_OTHERS, JOB_LETTERS "Wwait ", "IKk", false},
	{"sbcast", " exclude fanout jobid size timeout ", " compress force help preserve send-libs treewidth usage verbose version ",
		" Ffanout jjobid ssize ttimeout ", "C", true},
	{"scontrol", " cluster clusters uid ", " all details federation help hide json local oneliner quiet usage sibling verbose version yaml future ",
		" Mclusters uuid ", "", true},
	{"scancel", " account clusters cluster jobname name nodelist partition qos reservation signal sibling state user wckey admin-comment ",
		" batch ctld cron full help hurry interactive me quiet usage verbose version ",
		" Aaccount Mclusters nname ppartition qqos Rreservation ssignal tstate uuser wnodelist ", "", true},
	{"sattach", " input-filter output-filter error-filter ", " help label layout debugger-test pty quiet usage verbose version ", "", "", false},
};

const struct grammar *grammar_of(const char *command)
{
	static const struct grammar none = {"", "", "", "", "", true};
	for (size_t i = 0; i < sizeof grammars / sizeof *grammars; i++)
		if (strcmp(grammars[i].command, command) == 0)
			return &grammars[i];
	return &none;
}

/* Looks for names that begin so; an exact one wins. Returns how many there are (2: several); the name goes to `found`. */
static int look_up(const char *list, const char *name, size_t length, char found[OPTION_NAME_BYTES])
{
	int count = 0;
	for (const char *at = list + strspn(list, " "); *at != '\0'; at += strspn(at, " ")) {
		size_t size = strcspn(at, " ");
		bool fits = size >= length && size < OPTION_NAME_BYTES && strncmp(at, name, length) == 0;
		if (fits && (count == 0 || size == length)) {
			memcpy(found, at, size);
			found[size] = '\0';
		}
		if (fits && size == length)
			return 1;
		count += fits;
		at += size;
	}
	return count > 1 ? 2 : count;
}

void option_walk_start(struct option_walk *walk, const struct grammar *grammar, int argc, char *const *argv)
{
	*walk = (struct option_walk){.grammar = grammar, .argv = argv, .argc = argc, .at = 1};
}

/*
 * A long option that this table does not know is one of a plug-in of the site. Its value may be the next word, which nobody here can tell from
 * the first word that is no option; a word that can be read as a file, or is the last, counts as the latter.
 */
static bool takes_next(const struct option_walk *walk)
{
	const char *next = walk->at < walk->argc ? walk->argv[walk->at] : NULL;
	return next != NULL && next[0] != '-' && walk->at + 1 < walk->argc && access(next, R_OK) != 0;
}

static void read_long(struct option_walk *walk, struct option *option)
{
	const char *text = walk->argv[walk->at++] + 2;
	const char *equals = strchr(text, '=');
	size_t length = equals != NULL ? (size_t)(equals - text) : strlen(text);
	char valued[OPTION_NAME_BYTES] = "", other[OPTION_NAME_BYTES] = "";
	int valued_count = look_up(walk->grammar->valued, text, length, valued);
	int other_count = look_up(walk->grammar->others, text, length, other);
	bool is_exact_other = other_count > 0 && strlen(other) == length;
	bool is_valued = valued_count > 0 && !is_exact_other;
	/* It stays as it was typed: which one it stands for, or that it stands for none, is the command's to say. */
	bool is_ambiguous = is_valued && valued_count > 1;
	option->is_known = is_valued || other_count > 0;
	option->value = equals != NULL ? equals + 1 : NULL;
	if (!option->is_known || is_ambiguous || length >= OPTION_NAME_BYTES) {
		size_t kept = length < OPTION_NAME_BYTES ? length : OPTION_NAME_BYTES - 1;
		memcpy(option->name, text, kept);
		option->name[kept] = '\0';
	} else {
		strcpy(option->name, is_valued ? valued : other);
	}
	if (equals == NULL && (is_valued ? walk->at < walk->argc : !option->is_known && takes_next(walk)))
		option->value = walk->argv[walk->at++];
}

/* The long name of a short option with a value; NULL: the letter has none. */
static const char *name_of_letter(const char *list, char letter)
{
	for (const char *at = list + strspn(list, " "); *at != '\0'; at += strspn(at, " ")) {
		if (*at == letter)
			return at + 1;
		at += strcspn(at, " ");
	}
	return NULL;
}

static void read_letter(struct option_walk *walk, struct option *option)
{
	char letter = *walk->letters++;
	const char *name = name_of_letter(walk->grammar->letters, letter);
	size_t length = name != NULL ? strcspn(name, " ") : 1;
	memcpy(option->name, name != NULL ? name : &letter, length);
	option->name[length] = '\0';
	option->is_known = true;
	option->value = NULL;
	bool is_maybe = strchr(walk->grammar->maybe_letters, letter) != NULL;
	if (*walk->letters != '\0' && (name != NULL || is_maybe)) {
		option->value = walk->letters;
		walk->letters = "";
	} else if (name != NULL && walk->at < walk->argc) {
		option->value = walk->argv[walk->at++];
	}
}

bool option_walk_next(struct option_walk *walk, struct option *option)
{
	if (walk->letters == NULL || *walk->letters == '\0') {
		const char *next = walk->at < walk->argc ? walk->argv[walk->at] : NULL;
		if (next == NULL || next[0] != '-' || next[1] == '\0')
			return false;
		if (strcmp(next, "--") == 0) {
			walk->at++;
			return false;
		}
		if (next[1] == '-') {
			read_long(walk, option);
			return true;
		}
		walk->at++;
		walk->letters = next + 1;
	}
	read_letter(walk, option);
	return true;
}
