// The question to the controller, before there is a job: may this user have this image?
#ifndef VMRM_CHECK_H
#define VMRM_CHECK_H

#include "request.h"

// CHECK_UNKNOWN: nobody could be asked; a warning was printed, and the controller asks again when the job starts.
enum check_result { CHECK_ALLOWED, CHECK_REFUSED, CHECK_UNKNOWN };

// Runs `vmrm check-request` for at most 5 seconds. CHECK_REFUSED: its sentences were printed.
enum check_result check_request(const struct request *request);

#endif
