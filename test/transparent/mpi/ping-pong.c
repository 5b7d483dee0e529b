/*
 * Latency and bandwidth between rank 0 and the last rank: messages go to and fro, one size after the other.
 * Prints one line of JSON from rank 0: for each size in bytes the median one-way time in us and the bandwidth in MiB/s. It must never be judged by a test: only its results are numbers.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#define LARGEST (1 << 20)
#define ROUNDS_MAX 200

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The median time of one round, in seconds; only rank 0's answer counts. */
static double measure(char *bytes, int size, int rounds, int rank, int other)
{
	static double times[ROUNDS_MAX];
	for (int i = 0; i < rounds; i++) {
		double start = MPI_Wtime();
		if (rank == 0) {
			MPI_Send(bytes, size, MPI_CHAR, other, 0, MPI_COMM_WORLD);
			MPI_Recv(bytes, size, MPI_CHAR, other, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		} else {
			MPI_Recv(bytes, size, MPI_CHAR, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			MPI_Send(bytes, size, MPI_CHAR, 0, 0, MPI_COMM_WORLD);
		}
		times[i] = MPI_Wtime() - start;
	}
	qsort(times, (size_t)rounds, sizeof *times, by_value);
	return times[rounds / 2];
}

int main(int argc, char **argv)
{
	int rank, size;
	static char bytes[LARGEST];
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	if (size < 2) {
		fprintf(stderr, "ping-pong needs two ranks\n");
		MPI_Abort(MPI_COMM_WORLD, 64);
	}
	if (rank == 0)
		printf("{\"sizes\":[");
	for (int length = 1; (rank == 0 || rank == size - 1) && length <= LARGEST; length *= 4) {
		int rounds = length <= 4096 ? ROUNDS_MAX : length <= 65536 ? 30 : 10;
		measure(bytes, length, 5, rank, size - 1); /* connections and buffers are made */
		double one_way = measure(bytes, length, rounds, rank, size - 1) / 2;
		if (rank == 0)
			printf("%s{\"bytes\":%d,\"latencyUs\":%.2f,\"bandwidthMibS\":%.3f}", length > 1 ? "," : "", length, one_way * 1e6,
			       length / one_way / 1048576);
	}
	if (rank == 0)
		printf("]}\n");
	MPI_Finalize();
	return 0;
}
