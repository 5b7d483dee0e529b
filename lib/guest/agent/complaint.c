/*
 * Owns the wording of what failed while a VM took its identity.
 * Must never leave a complaint empty: an empty one means success on the wire.
 */
#include "complaint.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool complain(struct complaint *complaint, int error, const char *format, ...)
{
	va_list values;
	va_start(values, format);
	int used = vsnprintf(complaint->text, sizeof complaint->text, format, values);
	va_end(values);
	if (error != 0 && used >= 0 && (size_t)used < sizeof complaint->text)
		snprintf(complaint->text + used, sizeof complaint->text - (size_t)used, ": %s", strerrordesc_np(error) ? strerrordesc_np(error) : "unknown error");
	return false;
}
