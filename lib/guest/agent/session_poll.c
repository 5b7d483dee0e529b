/*
 * Owns the places that the sessions' ends have in the agent's poll: those of the tasks, and behind them those of the wires.
 * Must never take one end's place for another's.
 */
#include "session_poll.h"

/* In the order of the sessions that have one. */
static size_t watch_wires(const struct agent *agent, struct pollfd *place)
{
	size_t count = 0;
	for (size_t i = 0; i < agent->session_count; i++) {
		if (!agent->sessions[i]->wire.is_used)
			continue;
		wire_watch(&agent->sessions[i]->wire, place + count);
		count += WIRE_FDS;
	}
	return count;
}

static void serve_wires(const struct agent *agent, const struct pollfd *place, size_t sessions)
{
	for (size_t i = 0; i < sessions; i++) {
		if (!agent->sessions[i]->wire.is_used)
			continue;
		wire_turn(&agent->sessions[i]->wire, place);
		place += WIRE_FDS;
	}
}

size_t sessions_watch(const struct agent *agent, struct pollfd *places)
{
	for (size_t i = 0; i < agent->session_count; i++)
		task_watch(agent->sessions[i], &places[i * TASK_FDS]);
	size_t tasks = agent->session_count * TASK_FDS;
	return tasks + watch_wires(agent, &places[tasks]);
}

void sessions_serve(const struct agent *agent, const struct pollfd *places, size_t sessions)
{
	for (size_t i = 0; i < sessions; i++)
		task_serve(agent->sessions[i], &places[i * TASK_FDS]);
	serve_wires(agent, &places[sessions * TASK_FDS], sessions);
}
