/*
 * Owns which identity is in force, being applied, or next.
 * Must never call anything identity complete before that child has ended well.
 */
#include "identity_worker.h"

#include <stddef.h>

static bool start(struct identity_worker *worker)
{
	worker->work.title = "taking the identity";
	worker->work.wait_ms = IDENTITY_WAIT_MS;
	return child_work_start(&worker->work, identity_apply, worker->applying, &worker->answer.complaint);
}

bool identity_worker_take(struct identity_worker *worker, const uint8_t *bytes, size_t length, bool is_clone)
{
	worker->answer = (struct work_answer){0};
	struct identity *identity = identity_parse(bytes, length, &worker->answer.complaint);
	if (identity == NULL)
		return true;
	identity->is_clone = is_clone;
	if (worker->work.child != 0) {
		identity_free(worker->next);
		worker->next = identity;
		return false;
	}
	worker->applying = identity;
	if (start(worker))
		return false;
	identity_free(worker->applying);
	worker->applying = NULL;
	return true;
}

bool identity_worker_on_child(struct identity_worker *worker, pid_t pid, int wait_status)
{
	if (!child_work_on_child(&worker->work, pid, wait_status, &worker->answer))
		return false;
	if (worker->answer.complaint.text[0] == '\0') {
		identity_free(worker->current);
		worker->current = worker->applying;
	} else {
		identity_free(worker->applying);
	}
	worker->applying = worker->next;
	worker->next = NULL;
	if (worker->applying == NULL)
		return true;
	if (start(worker))
		return false;
	identity_free(worker->applying);
	worker->applying = NULL;
	return true;
}

void identity_worker_free(struct identity_worker *worker)
{
	identity_free(worker->current);
	identity_free(worker->applying);
	identity_free(worker->next);
	child_work_drop(&worker->work);
}
