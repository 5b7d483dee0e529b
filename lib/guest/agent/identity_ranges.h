/*
 * Owns reading the short texts that stand for long lists: `sim-[0001+16384],login`, `10.64.0.2+16384`, `16*1024,8`.
 * Must never give out a member that is longer than its room, and never more members than a text says in at most nine digits.
 */
#ifndef VMRM_AGENT_IDENTITY_RANGES_H
#define VMRM_AGENT_IDENTITY_RANGES_H

#include <stdbool.h>
#include <stddef.h>

/* Longer names than a host's are refused. */
#define RANGE_MEMBER_MAX 256

enum range_next {
	RANGE_MEMBER, /* `member` is the next one */
	RANGE_END,
	RANGE_BAD /* the text is none of these */
};

/* Where in a list its reader is. Begin with range_begin. */
struct range {
	const char *left; /* what of the text is still to be read; NULL: nothing */
	unsigned long number, times; /* of the part that is being given out: the next number, and how many are left */
	int digits; /* at least so many */
	char prefix[RANGE_MEMBER_MAX], suffix[RANGE_MEMBER_MAX];
	char member[RANGE_MEMBER_MAX];
	unsigned long count; /* as a number, where the members are counts */
};

void range_begin(struct range *range, const char *text);
enum range_next range_next_name(struct range *range);
enum range_next range_next_address(struct range *range);
enum range_next range_next_count(struct range *range);

#endif
