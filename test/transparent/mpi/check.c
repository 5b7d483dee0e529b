/*
 * An MPI program whose results are known: who is where, a ring, a reduction, and heat in a rod over all ranks.
 * Rank 0 prints one line of JSON; the exit code is 0 only if every result is right. It must never print from another rank.
 *   check              once
 *   check abort        the last rank aborts with 3
 *   check exit         the last rank ends with 5, after MPI's own end
 *   check die          the last rank kills itself
 *   check until FILE   again and again until rank 0 finds FILE; a line "working" after the first time
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CELLS 240 /* divisible by 1..6, 8, 10, 12, 15, 16 ranks */
#define STEPS 100

/* A token goes round once, and each rank adds its number and one. */
static int ring_is_right(int rank, int size)
{
	long token = 0;
	int next = (rank + 1) % size, previous = (rank + size - 1) % size;
	if (size == 1)
		return 1;
	if (rank == 0) {
		token = 1;
		MPI_Send(&token, 1, MPI_LONG, next, 7, MPI_COMM_WORLD);
		MPI_Recv(&token, 1, MPI_LONG, previous, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		return token == (long)size * (size + 1) / 2;
	}
	MPI_Recv(&token, 1, MPI_LONG, previous, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	token += rank + 1;
	MPI_Send(&token, 1, MPI_LONG, next, 7, MPI_COMM_WORLD);
	return 1;
}

/* A vector of 100,000 doubles, long enough for a rendezvous between two nodes. */
static int sums_are_right(int rank, int size)
{
	enum { COUNT = 100000 };
	double *mine = malloc(COUNT * sizeof *mine), *sum = malloc(COUNT * sizeof *sum);
	int is_right = mine != NULL && sum != NULL;
	for (int i = 0; is_right && i < COUNT; i++)
		mine[i] = (double)i + rank;
	if (is_right)
		MPI_Allreduce(mine, sum, COUNT, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
	for (int i = 0; is_right && i < COUNT; i++)
		is_right = sum[i] == (double)i * size + (double)size * (size - 1) / 2;
	free(mine);
	free(sum);
	return is_right;
}

static void step(const double *from, double *to, int first, int last)
{
	for (int i = first; i <= last; i++)
		to[i] = from[i] + 0.25 * (from[i - 1] - 2 * from[i] + from[i + 1]);
}

/* The rod is hot at its left end; each rank has its part and the neighbours' edges. Compared with the same rod in one piece. */
static int heat_is_right(int rank, int size)
{
	static double whole[2][CELLS + 2], part[2][CELLS + 2];
	int left = rank == 0 ? MPI_PROC_NULL : rank - 1, right = rank == size - 1 ? MPI_PROC_NULL : rank + 1;
	int from = rank * CELLS / size + 1, to = (rank + 1) * CELLS / size;
	whole[0][0] = whole[1][0] = part[0][0] = part[1][0] = 100;
	for (int i = 0; i < STEPS; i++) {
		double *now = part[i % 2], *then = part[(i + 1) % 2];
		MPI_Sendrecv(&now[from], 1, MPI_DOUBLE, left, 1, &now[to + 1], 1, MPI_DOUBLE, right, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		MPI_Sendrecv(&now[to], 1, MPI_DOUBLE, right, 2, &now[from - 1], 1, MPI_DOUBLE, left, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		step(now, then, from, to);
		step(whole[i % 2], whole[(i + 1) % 2], 1, CELLS);
	}
	for (int i = from; i <= to; i++)
		if (fabs(part[STEPS % 2][i] - whole[STEPS % 2][i]) > 1e-12)
			return 0;
	return whole[STEPS % 2][1] > 80;
}

/* By rank: its host's name, and that host's first rank. */
static void print_hosts(const char *names, int size)
{
	printf("\"hosts\":[");
	for (int i = 0; i < size; i++)
		printf("%s\"%s\"", i > 0 ? "," : "", names + (size_t)i * MPI_MAX_PROCESSOR_NAME);
	printf("],\"beside\":[");
	for (int i = 0; i < size; i++) {
		int first = 0;
		while (strcmp(names + (size_t)first * MPI_MAX_PROCESSOR_NAME, names + (size_t)i * MPI_MAX_PROCESSOR_NAME) != 0)
			first++;
		printf("%s%d", i > 0 ? "," : "", first);
	}
	printf("]");
}

/* All of it, as often as `until` asks for (NULL: once); `right` tells of each part whether it was right every time. */
static void check(int rank, int size, const char *until, int right[3])
{
	int is_over;
	right[0] = right[1] = right[2] = 1;
	for (int round = 0;; round++) {
		right[0] &= ring_is_right(rank, size);
		right[1] &= sums_are_right(rank, size);
		right[2] &= heat_is_right(rank, size);
		if (until == NULL)
			return;
		if (rank == 0 && round == 0) {
			puts("working");
			fflush(stdout);
		}
		is_over = rank == 0 && access(until, F_OK) == 0;
		MPI_Bcast(&is_over, 1, MPI_INT, 0, MPI_COMM_WORLD);
		if (is_over)
			return;
	}
}

int main(int argc, char **argv)
{
	int rank, size, length, mine[3], all[3];
	char name[MPI_MAX_PROCESSOR_NAME] = "", *names = NULL;
	const char *how = argc > 1 ? argv[1] : "";
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	MPI_Get_processor_name(name, &length);
	if (rank == size - 1 && strcmp(how, "abort") == 0)
		MPI_Abort(MPI_COMM_WORLD, 3);
	if (rank == size - 1 && strcmp(how, "die") == 0)
		raise(SIGKILL);
	if (rank == 0)
		names = calloc((size_t)size, MPI_MAX_PROCESSOR_NAME);
	MPI_Gather(name, MPI_MAX_PROCESSOR_NAME, MPI_CHAR, names, MPI_MAX_PROCESSOR_NAME, MPI_CHAR, 0, MPI_COMM_WORLD);
	check(rank, size, argc > 2 && strcmp(how, "until") == 0 ? argv[2] : NULL, mine);
	MPI_Allreduce(mine, all, 3, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
	if (rank == 0) {
		printf("{\"size\":%d,\"ring\":%d,\"sums\":%d,\"heat\":%d,", size, all[0], all[1], all[2]);
		print_hosts(names, size);
		printf("}\n");
	}
	free(names);
	MPI_Finalize();
	if (rank == size - 1 && strcmp(how, "exit") == 0)
		return 5;
	return all[0] && all[1] && all[2] ? 0 : 1;
}
