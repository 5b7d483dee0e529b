// The environment a hook gets: Slurm's own variables and vmrm's, each once, and nothing that could change how a program starts.
#ifndef VMRM_ENVIRONMENT_H
#define VMRM_ENVIRONMENT_H

// The value of a variable's first occurrence, or NULL.
const char *environment_find(char *const environment[], const char *name);

// A new list that points into `environment`; NULL without memory. The caller ends with it in execve.
char **environment_clean(char *const environment[]);

#endif
