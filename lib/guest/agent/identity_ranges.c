/* Owns reading lists that are written as ranges; see the header. */
#include "identity_ranges.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 9

void range_begin(struct range *range, const char *text)
{
	memset(range, 0, sizeof *range);
	range->left = *text == '\0' ? NULL : text;
}

/* 1 to 9 decimal digits at *text, which then points behind them. */
static bool take_number(const char **text, unsigned long *value, int *digits)
{
	size_t length = strspn(*text, "0123456789");
	if (length == 0 || length > DIGITS_MAX)
		return false;
	*value = strtoul(*text, NULL, 10);
	*digits = (int)length;
	*text += length;
	return true;
}

/* `+COUNT` or `*COUNT`, or nothing for one; the same for all lists but their sign. */
static bool take_times(const char **text, char sign, unsigned long *times)
{
	int digits;
	*times = 1;
	if (**text != sign)
		return true;
	(*text)++;
	return take_number(text, times, &digits) && *times > 0;
}

static bool copy_part(char *out, const char *from, size_t length)
{
	if (length >= RANGE_MEMBER_MAX)
		return false;
	memcpy(out, from, length);
	out[length] = '\0';
	return true;
}

/* The part of the text up to the next comma, which is passed; false where there is none left, or it is too long. */
static bool take_part(struct range *range, char part[RANGE_MEMBER_MAX])
{
	size_t length = strcspn(range->left, ",");
	bool fits = length > 0 && copy_part(part, range->left, length);
	range->left = range->left[length] == ',' ? range->left + length + 1 : NULL;
	return fits;
}

static bool open_name(struct range *range)
{
	char part[RANGE_MEMBER_MAX];
	if (!take_part(range, part))
		return false;
	char *bracket = strchr(part, '[');
	range->digits = 0;
	range->times = 1;
	range->suffix[0] = '\0';
	if (bracket == NULL)
		return copy_part(range->prefix, part, strlen(part));
	const char *at = bracket + 1;
	*bracket = '\0';
	return take_number(&at, &range->number, &range->digits) && *at == '+' && take_times(&at, '+', &range->times) && *at == ']' &&
		copy_part(range->prefix, part, strlen(part)) && copy_part(range->suffix, at + 1, strlen(at + 1));
}

enum range_next range_next_name(struct range *range)
{
	if (range->times == 0 && range->left == NULL)
		return RANGE_END;
	if (range->times == 0 && !open_name(range))
		return RANGE_BAD;
	int length = range->digits == 0 ? snprintf(range->member, sizeof range->member, "%s", range->prefix)
		: snprintf(range->member, sizeof range->member, "%s%0*lu%s", range->prefix, range->digits, range->number, range->suffix);
	range->number++;
	range->times--;
	return length > 0 && (size_t)length < sizeof range->member ? RANGE_MEMBER : RANGE_BAD;
}

static bool open_address(struct range *range)
{
	char part[RANGE_MEMBER_MAX];
	struct in_addr address;
	if (!take_part(range, part))
		return false;
	char *plus = strchr(part, '+');
	const char *at = plus == NULL ? "" : plus;
	if (!take_times(&at, '+', &range->times) || *at != '\0')
		return false;
	if (plus != NULL)
		*plus = '\0';
	if (inet_pton(AF_INET, part, &address) != 1)
		return false;
	range->number = ntohl(address.s_addr);
	return range->number + range->times - 1 <= UINT32_MAX;
}

enum range_next range_next_address(struct range *range)
{
	if (range->times == 0 && range->left == NULL)
		return RANGE_END;
	if (range->times == 0 && !open_address(range))
		return RANGE_BAD;
	struct in_addr address = {.s_addr = htonl((uint32_t)range->number)};
	range->number++;
	range->times--;
	return inet_ntop(AF_INET, &address, range->member, sizeof range->member) != NULL ? RANGE_MEMBER : RANGE_BAD;
}

enum range_next range_next_count(struct range *range)
{
	if (range->times == 0 && range->left == NULL)
		return RANGE_END;
	if (range->times == 0) {
		char part[RANGE_MEMBER_MAX];
		const char *at = part;
		int digits;
		if (!take_part(range, part) || !take_number(&at, &range->count, &digits) || !take_times(&at, '*', &range->times) || *at != '\0')
			return RANGE_BAD;
	}
	range->times--;
	return RANGE_MEMBER;
}
