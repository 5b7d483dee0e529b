/* Owns the files of a call on the host. Must never write outside the call's own folder, whatever name the guest gave. */
#ifndef RUN_SERVED_FILES_H
#define RUN_SERVED_FILES_H

#include "served_command.h"

/* Writes the spec's files and puts their paths into its arguments. NULL: done; else the sentence why not. */
const char *served_files_place(struct served_command *command, struct spec *spec);

#endif
