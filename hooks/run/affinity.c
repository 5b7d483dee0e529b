/* Owns the reading of this process' own CPU affinity. Must never change it. */
#include "affinity.h"

#include <sched.h>
#include <stdio.h>

/* As many as the agent's lists may name. */
#define CPUS_MAX 8192

bool affinity_read(char *text, size_t size)
{
	size_t length = 0;
	bool fits = false;
	cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
	size_t bytes = CPU_ALLOC_SIZE(CPUS_MAX);
	if (set == NULL)
		return false;
	CPU_ZERO_S(bytes, set);
	if (sched_getaffinity(0, bytes, set) != 0)
		goto done;
	for (size_t cpu = 0; cpu < CPUS_MAX; cpu++) {
		size_t last = cpu;
		if (!CPU_ISSET_S(cpu, bytes, set))
			continue;
		while (last + 1 < CPUS_MAX && CPU_ISSET_S(last + 1, bytes, set))
			last++;
		const char *comma = length == 0 ? "" : ",";
		int n = last == cpu ? snprintf(text + length, size - length, "%s%zu", comma, cpu)
				    : snprintf(text + length, size - length, "%s%zu-%zu", comma, cpu, last);
		if (n < 0 || (size_t)n >= size - length)
			goto done;
		length += (size_t)n;
		cpu = last;
	}
	fits = length > 0;
done:
	CPU_FREE(set);
	return fits;
}
